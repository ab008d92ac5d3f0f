import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Lease,
  LeaseKeepAliveRequestSchema,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { assertKept, assertServes } from './aftermath.ts';
import { waitsForCorrupt } from './ended-lease.ts';
import { Fuzzer, residentBytes } from './fuzzer.ts';

const TRIES = 500;
/** Of calls that have no answer. */
const UNANSWERED_MS = 3_000;
/** What may come on top while the allocator and V8 find their size; a leak of whole requests would be more. */
const GROWTH_BYTES_MAX = 150 * 1024 * 1024;

describe('bad input from anybody, to everything that is served', { timeout: 300_000 }, () => {
  let netsy: Netsy;
  before(async () => {
    // A heap that is small ends the process when something stays in it.
    netsy = await startNetsy({ environment: { NODE_OPTIONS: '--max-old-space-size=256' } });
  });
  after(() => netsy?.stop());

  for (const seed of [1, Number(process.env['SEED'] ?? Date.now() % 2 ** 31)]) {
    it('is answered with an error, ends no process, holds no call up, and leaves no memory', async (context) => {
      context.diagnostic(`seed ${seed}`);
      const fuzzer = new Fuzzer(netsy, seed);
      try {
        await fuzzer.all();
        const warm = residentBytes(netsy.pid);
        while (fuzzer.tries < TRIES) await fuzzer.once();
        const grown = residentBytes(netsy.pid) - warm;
        assert.ok(grown < GROWTH_BYTES_MAX, `${grown} bytes more than before`);
      } finally {
        fuzzer.close();
      }
      await assertServes(netsy);
    });
  }

  it('lets a keep-alive of an ended lease wait under the alarm CORRUPT, and nothing else', async () => {
    const client = new EtcdClient(netsy.authority);
    const fuzzer = new Fuzzer(netsy, 1, UNANSWERED_MS);
    const raise = { action: AlarmRequest_AlarmAction.ACTIVATE, alarm: AlarmType.CORRUPT };
    /** One that has ended and can't be revoked. */
    const ended = async (): Promise<bigint> => {
      const { ID } = await client.call(Lease.method.leaseGrant, { TTL: 1n });
      await client.call(Maintenance.method.alarm, raise);
      for (let left = 1n; left >= 0n; await sleep(50))
        left = (await client.call(Lease.method.leaseTimeToLive, { ID })).TTL;
      return ID;
    };
    try {
      const ID = await ended();
      assert.equal(await waitsForCorrupt(netsy, ID + 1n), false, 'there is no such lease');
      const bytes = toBinary(LeaseKeepAliveRequestSchema, create(LeaseKeepAliveRequestSchema, { ID }));
      await fuzzer.tryCall(Lease.method.leaseKeepAlive, { shape: 'message', bytes });
      assert.equal(await waitsForCorrupt(netsy, ID), false, 'it is revoked now');
      await fuzzer.tryPost('/v3/lease/keepalive', Lease.method.leaseKeepAlive, `{"ID": "${await ended()}"}`);
      assert.deepEqual([...fuzzer.outcomes.keys()], ['grpc 4', 'http waits']);
      const { ID: young } = await client.call(Lease.method.leaseGrant, { TTL: 60n });
      await client.call(Maintenance.method.alarm, raise);
      assert.equal(await waitsForCorrupt(netsy, young), false, 'it has not ended');
    } finally {
      fuzzer.close();
      client.close();
    }
    await assertServes(netsy);
  });

  it('takes nothing from what was acknowledged, also for a server that starts from the store', async () => {
    netsy = await assertKept(netsy);
    await assertServes(netsy);
  });
});
