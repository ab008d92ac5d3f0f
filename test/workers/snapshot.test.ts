import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  PutRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { decodeHeader } from '../../src/shared/format/decode.ts';
import { snapshotKey } from '../../src/shared/format/names.ts';
import { zstdFrameAt } from '../../src/shared/format/zstd-frame.ts';
import { type LoadedChunk, WriteKind } from '../../src/workers/contract/writer.ts';
import { bytes } from '../support/etcd-client.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { readStored, snapshotObject } from '../support/snapshots.ts';
import { putRequest } from '../support/writes.ts';
import { firstChunk, SKIP_TO } from './first-chunk.ts';
import { LocalWriter, type Write } from './local-writer.ts';

const key = fc.constantFrom('a', 'aa', 'b', 'c', 'd', '');
/** Also ids that JavaScript's numbers can't hold, and a negative one. */
const lease = fc.constantFrom(1n, 2n ** 62n + 1n, -3n);
const write: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .record({ key, value: fc.uint8Array({ maxLength: 40 }), lease: fc.constantFrom(0n, 0n, 1n, -3n) })
      .map((message) => ({
        kind: WriteKind.Put,
        request: toBinary(
          PutRequestSchema,
          create(PutRequestSchema, { ...message, key: bytes(message.key || 'z') }),
        ),
      })),
  },
  {
    weight: 3,
    arbitrary: fc.record({ key, end: fc.constantFrom('', 'b', 'c') }).map(({ key: from, end }) => ({
      kind: WriteKind.DeleteRange,
      request: toBinary(
        DeleteRangeRequestSchema,
        create(DeleteRangeRequestSchema, { key: bytes(from || 'a'), rangeEnd: bytes(end) }),
      ),
    })),
  },
  {
    weight: 2,
    arbitrary: lease.map((ID) => ({
      kind: WriteKind.LeaseGrant,
      request: toBinary(LeaseGrantRequestSchema, create(LeaseGrantRequestSchema, { ID, TTL: 60n })),
    })),
  },
  {
    weight: 1,
    arbitrary: lease.map((ID) => ({
      kind: WriteKind.LeaseRevoke,
      request: toBinary(LeaseRevokeRequestSchema, create(LeaseRevokeRequestSchema, { ID })),
    })),
  },
  {
    weight: 2,
    arbitrary: fc.nat(30).map((revision) => ({
      kind: WriteKind.Compact,
      request: toBinary(
        CompactionRequestSchema,
        create(CompactionRequestSchema, { revision: BigInt(revision) }),
      ),
    })),
  },
);
const batch = fc.record({
  writes: fc.array(write, { minLength: 1, maxLength: 5 }),
  /** Slices of row removal done after it. */
  slices: fc.nat(2),
  /** A snapshot is taken after it. */
  snapshot: fc.boolean(),
});

interface Taken {
  readonly chunks: number;
  readonly sequence: number;
  readonly object: Buffer;
}

/** Fills a cache from a snapshot as recovery does, and follows the chunks after it. */
async function recovered(
  { sequence, object, chunks }: Taken,
  all: readonly LoadedChunk[],
): Promise<LocalWriter> {
  const store = new MemoryStore();
  await store.put(snapshotKey(sequence), object);
  const { header, pieces } = await readStored(store, sequence, object.length);
  const writer = new LocalWriter();
  writer.fill(pieces, {
    sequence,
    chunkCrc: header.previousChunkCrc,
    epoch: header.epoch,
    ...header.snapshot,
  });
  writer.load(all.slice(chunks));
  return writer;
}

describe('a snapshot', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

  it('and the chunks after it give the same rows as chunks alone, whatever the history', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const property = fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 12 }), async (batches) => {
      const live = new LocalWriter();
      live.load([firstChunk()]);
      live.begin();
      const taken: Taken[] = [];
      for (const { writes, slices, snapshot } of batches) {
        live.evaluate(writes);
        live.apply(SKIP_TO + live.chunks.length);
        live.idle(slices);
        if (snapshot) taken.push({ chunks: live.chunks.length, ...(await snapshotObject(live.file)) });
      }
      const alone = new LocalWriter();
      alone.load([firstChunk(), ...live.chunks]);
      alone.idle();
      const rows = alone.dump();
      for (const one of taken) {
        const writer = await recovered(one, live.chunks);
        writer.idle();
        assert.deepEqual(writer.dump(), rows, `from the snapshot after ${one.chunks} chunks`);
        assert.deepEqual(writer.indexes(), alone.indexes(), 'with every index');
        writer.close();
      }
      for (const writer of [live, alone]) writer.close();
    });
    await fc.assert(property, { seed, numRuns: 25 });
  });

  it('is of the place where it began, whatever is written while it is read', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const batches = fc.array(batch, { minLength: 2, maxLength: 12 });
    const property = fc.asyncProperty(batches, fc.nat(), async (all, place) => {
      const live = new LocalWriter();
      live.load([firstChunk()]);
      live.begin();
      const write = ({ writes, slices }: (typeof all)[number]): void => {
        live.evaluate(writes);
        live.apply(SKIP_TO + live.chunks.length);
        live.idle(slices);
      };
      const before = 1 + (place % (all.length - 1));
      all.slice(0, before).forEach(write);
      const chunks = live.chunks.length;
      live.hold('compaction');
      const { object, sequence } = await snapshotObject(live.file, {}, () =>
        all.slice(before).forEach(write),
      );
      live.resume('compaction');
      live.idle();
      const writer = await recovered({ chunks, object, sequence }, live.chunks);
      writer.idle();
      assert.deepEqual(writer.dump(), live.dump());
      for (const one of [live, writer]) one.close();
    });
    await fc.assert(property, { seed, numRuns: 25 });
  });

  it('ends with an error when rows that it has not read are removed meanwhile', async () => {
    const live = new LocalWriter();
    live.begin();
    for (const value of ['one', 'two'])
      live.evaluate([{ kind: WriteKind.Put, request: putRequest('key', value) }]);
    live.apply(2);
    const compact = (): void => {
      live.evaluate([
        {
          kind: WriteKind.Compact,
          request: toBinary(CompactionRequestSchema, create(CompactionRequestSchema, { revision: 3n })),
        },
      ]);
      live.apply(3);
      live.idle();
    };
    await assert.rejects(snapshotObject(live.file, {}, compact), /fewer records than the header says/);
    live.close();
  });

  it('of the same cache is the same bytes, whoever makes it from whatever way the cache came to be', async () => {
    const live = new LocalWriter();
    live.load([firstChunk()]);
    live.begin();
    for (const one of fc.sample(batch, { numRuns: 20, seed })) live.evaluate(one.writes);
    live.apply(SKIP_TO + live.chunks.length);
    live.idle();
    const first = { chunks: live.chunks.length, ...(await snapshotObject(live.file)) };
    const again = await recovered(first, live.chunks);
    assert.ok((await snapshotObject(again.file)).object.equals(first.object));
    live.close();
    again.close();
  });

  it('is refused when whole records of another one stand in it', async () => {
    const [one, other] = await Promise.all(
      ['one', 'two'].map(async (value) => {
        const writer = new LocalWriter();
        writer.begin();
        writer.evaluate([{ kind: WriteKind.Put, request: putRequest('key', value) }]);
        writer.apply(1);
        const { object } = await snapshotObject(writer.file);
        writer.close();
        const { bodyOffset } = decodeHeader(object, '');
        const { end } = zstdFrameAt(object, bodyOffset, '', 0)!;
        const parts = [
          object.subarray(0, bodyOffset),
          object.subarray(bodyOffset, end),
          object.subarray(end),
        ];
        return parts as [header: Buffer, records: Buffer, footer: Buffer];
      }),
    );
    // The footers differ in the records' CRC alone, which nothing else would show.
    const mixed = Buffer.concat([one![0], other![1], one![2]]);
    const store = new MemoryStore();
    await store.put(snapshotKey(1), mixed);
    await assert.rejects(readStored(store, 1, mixed.length), /footer .* CRC64|header CRC64/);
  });

  it('is refused, by name, wherever one of its bits is flipped or it is cut short', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const live = new LocalWriter();
    live.load([firstChunk()]);
    live.begin();
    const noise = {
      key: bytes('k'),
      value: Buffer.from(
        fc.sample(fc.uint8Array({ minLength: 3000, maxLength: 3000 }), { seed, numRuns: 1 })[0]!,
      ),
    };
    const request = toBinary(PutRequestSchema, create(PutRequestSchema, noise));
    live.evaluate([{ kind: WriteKind.Put, request }]);
    live.apply(SKIP_TO);
    const { sequence, object } = await snapshotObject(live.file);
    live.close();
    const isRefused = async (damaged: Buffer, size: number): Promise<void> => {
      const store = new MemoryStore();
      await store.put(snapshotKey(sequence), damaged);
      await assert.rejects(readStored(store, sequence, size), (error: Error) => {
        assert.ok(error.message.includes(snapshotKey(sequence)), error.message);
        return error.name === 'CorruptFileError';
      });
    };
    const readObject = async (bytes: Buffer): ReturnType<typeof readStored> => {
      const store = new MemoryStore();
      await store.put(snapshotKey(sequence), bytes);
      return readStored(store, sequence, bytes.length);
    };
    const original = await readObject(object);
    const flip = fc.asyncProperty(fc.nat(object.length * 8 - 1), async (bit) => {
      const damaged = Buffer.from(object);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const read = await readObject(damaged).catch(() => undefined);
      // Some bits of zstd's own, such as a window's size, may be others and mean the same.
      if (read !== undefined) assert.deepEqual(read, original);
      else await isRefused(damaged, damaged.length);
    });
    await fc.assert(flip, { seed, numRuns: 400 });
    for (const length of [0, 1, decodeHeader(object, '').bodyOffset, object.length >> 1, object.length - 1]) {
      await isRefused(object.subarray(0, length), length);
      await isRefused(object.subarray(0, length), object.length);
    }
    await isRefused(Buffer.concat([object, Buffer.from([0])]), object.length + 1);
  });
});

it('a cache that is thrown away to be filled anew takes the removal of its compacted rows along', async () => {
  const writer = new LocalWriter();
  writer.load([firstChunk()]);
  writer.begin();
  const put = (value: string): Write => ({ kind: WriteKind.Put, request: putRequest('a', value) });
  writer.evaluate([put('1'), put('2')]);
  writer.apply(SKIP_TO);
  const compaction = create(CompactionRequestSchema, { revision: 3n });
  writer.evaluate([{ kind: WriteKind.Compact, request: toBinary(CompactionRequestSchema, compaction) }]);
  writer.apply(SKIP_TO + 1);
  assert.ok(writer.hasIdleWork, 'rows wait to be removed');
  writer.beginFill();
  writer.idle();
  assert.ok(!writer.hasIdleWork);
  writer.close();
});
