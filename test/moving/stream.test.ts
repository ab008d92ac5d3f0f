import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { summarize } from '../../src/main/import/contents.ts';
import { DatabaseFile } from '../../src/main/import/database-file.ts';
import { Snapshot } from '../../src/main/state/snapshot-client.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import {
  KV,
  Maintenance,
  type SnapshotResponse,
  SnapshotResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Fixture } from '../e2e/fixture.ts';
import { bytes, settled } from '../support/etcd-client.ts';
import { temporaryDirectory } from '../support/netsy.ts';

const BLOB_BYTES = 32 * 1024;

function fileOf(responses: readonly SnapshotResponse[]): DatabaseFile {
  const path = join(temporaryDirectory(), 'snapshot.db');
  writeFileSync(path, Buffer.concat(responses.map(({ blob }) => blob)));
  return new DatabaseFile(path);
}

/** The server hears of a cancelled call a little later. */
async function untilTaken(call: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const outcome = await settled(call());
    if ('value' in outcome) return;
    assert.equal(outcome.failure.details, 'etcdserver: too many requests');
    await sleep(100);
  }
  assert.fail('cancelled calls still count');
}

describe('Maintenance.Snapshot', { timeout: 120_000 }, () => {
  const server = new Fixture();

  const snapshot = (): Promise<SnapshotResponse[]> => server.client.collect(Maintenance.method.snapshot, {});

  /** A call whose responses wait until they are asked for. */
  function pausedCall(): grpc.ClientReadableStream<SnapshotResponse> {
    const client = new grpc.Client(server.netsy.authority, grpc.credentials.createInsecure());
    const path = '/etcdserverpb.Maintenance/Snapshot';
    const decode = (message: Buffer): SnapshotResponse => fromBinary(SnapshotResponseSchema, message);
    const call = client.makeServerStreamRequest(path, (one: Buffer) => one, decode, Buffer.alloc(0));
    call.on('error', () => {});
    call.once('end', () => client.close());
    return call;
  }

  it('comes in blobs of 32 KiB that say what remains, then the SHA-256, as from etcd', async () => {
    for (const key of ['a', 'b', 'c']) await server.put(key, 'x'.repeat(100_000));
    const responses = await snapshot();
    const digest = responses.pop()!;
    const all = Buffer.concat(responses.map(({ blob }) => blob));
    assert.deepEqual(Buffer.from(digest.blob), createHash('sha256').update(all).digest());
    assert.equal(digest.remainingBytes, 0n);
    let remaining = all.length;
    for (const { blob, remainingBytes, version, header } of responses) {
      remaining -= blob.length;
      assert.equal(remainingBytes, BigInt(remaining));
      assert.deepEqual([version, header], ['3.7.0', undefined]);
      assert.ok(blob.length === BLOB_BYTES || remaining === 0);
    }
  });

  it('is of one revision, has what was acknowledged before, and does not hold writes up', async () => {
    const count = async (): Promise<number> => {
      const { header } = await server.range('a');
      return Number(header!.revision);
    };
    let writing = true;
    const first = await count();
    const writer = (async () => {
      for (let index = 0; writing; index++) {
        const value = bytes(String(index));
        const success = ['pair/1', 'pair/2'].map((key) => ({
          request: { case: 'requestPut' as const, value: { key: bytes(key), value } },
        }));
        await server.client.call(KV.method.txn, { success });
      }
    })();
    for (let round = 0; round < 5; round++) {
      const before = await count();
      const file = fileOf(await snapshot());
      const { revision, records } = summarize(file.database);
      file.close();
      assert.ok(revision >= before && revision <= (await count()), `${before} ≤ ${revision}`);
      // Three puts, then pairs.
      assert.equal(records, 3 + 2 * (revision - 4));
    }
    assert.ok((await count()) - first >= 5, 'writes go on');
    writing = false;
    await writer;
  });

  it('a snapshot that nobody wants any more is not built to its end', async () => {
    const directory = join(server.netsy.dataDir, 'cache');
    const cacheFile = join(directory, 'cache.sqlite');
    const unwanted = new Snapshot({ cacheFile, directory, memberId: 1n, random: systemRandom });
    const built = unwanted.built();
    unwanted.close();
    await assert.rejects(built, /the snapshot was closed/);
  });

  it('a client that goes away ends the work and leaves no file; too many at once are refused', async () => {
    for (let index = 0; index < 12; index++) await server.put(`large/${index}`, 'y'.repeat(1_500_000));
    for (let round = 0; round < 3; round++) {
      const calls = [pausedCall(), pausedCall()];
      await sleep(200);
      const third = pausedCall();
      const failure = new Promise<grpc.ServiceError>((resolve) => third.once('error', resolve));
      third.resume();
      const { code, details } = await failure;
      assert.deepEqual([code, details], [8, 'etcdserver: too many requests']);
      for (const call of calls) call.cancel();
      assert.deepEqual(
        readdirSync(join(server.netsy.dataDir, 'cache')).filter((name) => name.startsWith('snapshot')),
        [],
      );
      await untilTaken(snapshot);
    }
    const file = fileOf(await snapshot());
    assert.equal(summarize(file.database).records % 2, 1);
    file.close();
  });
});
