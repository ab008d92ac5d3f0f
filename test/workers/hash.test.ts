import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { crc32c } from '../../src/shared/base/crc32c.ts';
import { FrameWriter } from '../../src/shared/base/frames.ts';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type HashReply, type ReaderReply, ReadKind } from '../../src/workers/contract/reader.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { HashJob } from '../../src/workers/sqlite/hash.ts';
import { ReaderState } from '../../src/workers/sqlite/reader-state.ts';
import { bytes } from '../support/etcd-client.ts';
import { LocalWriter, type Write } from './local-writer.ts';

const KEYS = 40;

function put(key: number, value: string): Write {
  const request = create(PutRequestSchema, { key: bytes(`k${key}`), value: bytes(value) });
  return { kind: WriteKind.Put, request: toBinary(PutRequestSchema, request) };
}

function deletion(key: string, rangeEnd = ''): Write {
  const request = create(DeleteRangeRequestSchema, { key: bytes(key), rangeEnd: bytes(rangeEnd) });
  return { kind: WriteKind.DeleteRange, request: toBinary(DeleteRangeRequestSchema, request) };
}

function compaction(revision: number): Write {
  const request = create(CompactionRequestSchema, { revision: BigInt(revision) });
  return { kind: WriteKind.Compact, request: toBinary(CompactionRequestSchema, request) };
}

class Store {
  readonly writer = new LocalWriter();
  #sequence = 0;

  constructor() {
    this.writer.begin();
  }

  /** Writes, and applies at once; row removal waits. */
  write(...writes: Write[]): void {
    for (const { tag } of this.writer.evaluate(writes)) assert.equal(tag, 0);
    this.writer.apply(++this.#sequence);
  }

  hash(revision: number): HashReply {
    const job = new HashJob(this.writer.file, { revision, whole: false });
    for (;;) {
      const hash = job.step();
      if (hash !== undefined) return hash;
    }
  }
}

/** Puts and deletes in turns over a few keys; about `count` revisions. */
function churn(count: number): Write[] {
  return Array.from({ length: count }, (_, index) => {
    const key = index % KEYS;
    const round = Math.floor(index / KEYS);
    return (round + key) % 3 === 2 ? deletion(`k${key}`) : put(key, `value ${index}`);
  });
}

describe('hashing the history in SQLite', () => {
  it('crc32c is Castagnoli’s, whatever the pieces', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe306_9283);
    assert.equal(crc32c(Buffer.from('56789'), crc32c(Buffer.from('1234'))), 0xe306_9283);
    assert.equal(crc32c(new Uint8Array(0)), 0);
    const aligned = Buffer.alloc(4096, 'abcdefg');
    assert.equal(crc32c(aligned.subarray(1000), crc32c(aligned.subarray(0, 1000))), crc32c(aligned));
  });

  it('does not depend on how far the removal of compacted rows has come', () => {
    const store = new Store();
    // In the end no key lives, and etcd hashes by other rules.
    store.write(...churn(1800), deletion('k', 'l'));
    for (const at of [900, 1600]) {
      store.write(compaction(at));
      const asked = [at, at + 1, at + 7, at + KEYS, 0];
      const before = asked.map((revision) => store.hash(revision));
      let slices = 0;
      for (; slices < 2; slices++) {
        store.writer.idle(1);
        assert.deepEqual(
          asked.map((revision) => store.hash(revision)),
          before,
          `after slice ${slices}`,
        );
      }
      store.writer.idle();
      assert.deepEqual(
        asked.map((revision) => store.hash(revision)),
        before,
        'when all rows are gone',
      );
    }
    store.writer.close();
  });

  it('goes on in its own snapshot, in pieces between reads, while writes and compactions go on', () => {
    const store = new Store();
    store.write(...churn(5000));
    const expected = store.hash(0);
    const data = { cacheFile: store.writer.file, maxTxnOps: 128, clusterId: 1n, memberId: 2n, raftTerm: 1 };
    const reader = new ReaderState({ ...data, lists: true });
    const replies: ReaderReply[] = [];
    const send = (reply: ReaderReply): void => void replies.push(reply);
    reader.handle({ type: 'hash', id: 7, request: { revision: 0, whole: false } }, send);
    let pieces = 0;
    for (; reader.hasIdleWork; pieces++) {
      reader.idle();
      const before = replies.length;
      const frames = new FrameWriter();
      const range = create(RangeRequestSchema, { key: bytes('k1') });
      frames.add(ReadKind.Range, toBinary(RangeRequestSchema, range));
      reader.handle({ type: 'read', id: 100 + pieces, requests: frames.finish() }, send);
      assert.equal(replies.length, before + 1, 'a read is answered between the pieces');
      store.write(put(1, `piece ${pieces}`));
      if (pieces === 0) {
        store.write(compaction(4900));
        store.writer.idle();
      }
    }
    assert.ok(pieces > 2, `${pieces} pieces`);
    const [found] = replies.filter(({ type }) => type === 'hash');
    assert.deepEqual(found, { type: 'hash', id: 7, hash: expected });
    assert.equal(store.hash(0).newestRevision, expected.newestRevision + pieces);
    reader.close();
    store.writer.close();
  });
});
