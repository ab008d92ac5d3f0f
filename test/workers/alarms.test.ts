import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
import {
  AlarmRequest_AlarmAction,
  AlarmRequestSchema,
  AlarmType,
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  PutRequestSchema,
  TxnRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { EMPTY_CACHE_BYTES, openToWrite, PAGE_BYTES } from '../../src/workers/sqlite/database.ts';
import { bytes } from '../support/etcd-client.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { LocalWriter, type Write, write } from './local-writer.ts';

const NO_SPACE = new EtcdError('NoSpace').id;
/** Of the member that `LocalWriter` is. */
const NOSPACE_ENTRY = 'alarm/1/0000000000000002';
const MIB = 1024 * 1024;
/** That of etcd's own tests. */
const SMALL_QUOTA = 13 * 4096;

function put(size: number): Write {
  return write(WriteKind.Put, PutRequestSchema, { key: bytes('k'), value: new Uint8Array(size) });
}

const putOp = { request: { case: 'requestPut' as const, value: { key: bytes('k') } } };
const ADDITIONS: Record<string, Write> = {
  Put: put(0),
  'Put without a key': write(WriteKind.Put, PutRequestSchema, {}),
  'Txn with a put in the other branch': write(WriteKind.Txn, TxnRequestSchema, { failure: [putOp] }),
  LeaseGrant: write(WriteKind.LeaseGrant, LeaseGrantRequestSchema, { ID: 1n, TTL: 10n }),
};
const DISARM = write(WriteKind.Alarm, AlarmRequestSchema, {
  action: AlarmRequest_AlarmAction.DEACTIVATE,
  memberID: 2n,
  alarm: AlarmType.NOSPACE,
});
const DELETION = write(WriteKind.DeleteRange, DeleteRangeRequestSchema, { key: bytes('k') });

function opened(quotaBytes: number): LocalWriter {
  const writer = new LocalWriter(undefined, quotaBytes);
  writer.begin();
  return writer;
}

/** The names of what is raised, once everything is applied. */
function raised(writer: LocalWriter): unknown[] {
  writer.apply(writer.chunks.length);
  return (writer.dump()['system'] as { name: string }[]).map(({ name }) => name);
}

describe('the quota in the writer', () => {
  for (const [name, addition] of Object.entries(ADDITIONS)) {
    it(`refuses a ${name} that is too much, and raises NOSPACE once`, () => {
      const writer = opened(1);
      const tags = writer.evaluate([addition, addition]).map(({ tag }) => tag);
      assert.deepEqual(tags, [NO_SPACE, NO_SPACE]);
      assert.deepEqual(raised(writer), [NOSPACE_ENTRY]);
      assert.equal(writer.chunks.length, 1);
      writer.evaluate([addition]);
      assert.equal(writer.chunks.length, 1, 'it is raised already');
      writer.close();
    });
  }

  it('lets pass what adds nothing', () => {
    const writer = opened(1);
    const writes = [
      DELETION,
      write(WriteKind.Compact, CompactionRequestSchema, { revision: 1n }),
      write(WriteKind.Txn, TxnRequestSchema, { success: [] }),
    ];
    assert.deepEqual(
      writer.evaluate(writes).map(({ tag }) => tag),
      [0, 0, 0],
    );
    assert.deepEqual(raised(writer), []);
    writer.close();
  });

  it('that an empty cache is larger than is used up by as few keys as in etcd, and has room again after a compaction', () => {
    const writer = opened(SMALL_QUOTA);
    const apply = () => writer.apply(writer.chunks.length);
    const tagOf = (one: Write) => writer.evaluate([one])[0]?.tag;
    assert.equal(tagOf(put(64)), 0);
    apply();
    let accepted = 0;
    for (; accepted < 20 && tagOf(put(4096)) === 0; accepted++) apply();
    assert.ok(accepted >= 2 && accepted <= 8, `${accepted} × 4 KiB were accepted`);
    const revision = BigInt(2 + accepted);
    assert.equal(tagOf(write(WriteKind.Compact, CompactionRequestSchema, { revision })), 0);
    apply();
    writer.idle();
    assert.equal(tagOf(DISARM), 0);
    assert.equal(tagOf(put(64)), 0);
    writer.close();
  });

  it('knows what a new cache takes', () => {
    const connection = openToWrite(join(temporaryDirectory(), 'cache.sqlite'));
    const pages = connection.pragma('page_count', { simple: true });
    assert.equal(pages, EMPTY_CACHE_BYTES / PAGE_BYTES);
    connection.close();
  });

  it('is not passed by many writes in one batch, nor by many that wait for the store', () => {
    for (const batches of [1, 40]) {
      const writer = opened(8 * MIB);
      let accepted = 0;
      for (let batch = 0; batch < batches; batch++) {
        const writes = Array.from({ length: 40 / batches }, () => put(MIB));
        accepted += writer.evaluate(writes).filter(({ tag }) => tag === 0).length;
      }
      assert.ok(accepted >= 6 && accepted < 8, `${accepted} MiB were accepted`);
      writer.close();
    }
  });

  it('is not passed by a batch that is evaluated in parts, and is looked at anew for the next one', () => {
    const writer = opened(4 * MIB);
    for (let part = 0; part < 3; part++) writer.evaluateAhead([put(MIB)]);
    assert.deepEqual(
      writer.evaluate([put(MIB), put(MIB)]).map(({ tag }) => tag),
      [0, 0, 0, NO_SPACE, NO_SPACE],
    );
    assert.deepEqual(raised(writer), [NOSPACE_ENTRY]);
    const roomy = opened(4 * MIB);
    for (let batch = 1; batch <= 6; batch++) {
      roomy.evaluateAhead([put(MIB)]);
      assert.deepEqual(
        roomy
          .evaluate([write(WriteKind.DeleteRange, DeleteRangeRequestSchema, { key: bytes('k') })])
          .map(({ tag }) => tag),
        [0, 0],
      );
      const revision = BigInt(2 * batch + 1);
      roomy.evaluate([write(WriteKind.Compact, CompactionRequestSchema, { revision })]);
      roomy.apply(2 * batch);
      roomy.idle();
    }
    for (const each of [writer, roomy]) each.close();
  });

  it('an alarm that is disarmed while the quota is still used up is raised again', () => {
    const writer = opened(1);
    const tags = writer.evaluate([put(0), DISARM]).map(({ tag }) => tag);
    assert.deepEqual(tags, [NO_SPACE, 0]);
    assert.deepEqual(raised(writer), []);
    assert.equal(writer.evaluate([put(0)])[0]?.tag, NO_SPACE);
    assert.deepEqual(raised(writer), [NOSPACE_ENTRY]);
    writer.close();
  });
});
