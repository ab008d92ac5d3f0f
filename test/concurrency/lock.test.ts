import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import {
  Lock,
  type LockResponse,
  LockResponseSchema,
  UnlockResponseSchema,
} from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { type BegunCall, bytes, failureOf, settled } from '../support/etcd-client.ts';
import { missingTools } from '../support/tools.ts';
import { Both, comparable, type Peer } from './both.ts';

/** Each test has a lock and leases of its own; what is compared with etcd has every revision in it. */
describe('the lock service answers as etcd does', { timeout: 60_000, skip: missingTools('go') }, () => {
  const both = new Both();

  function lock(peer: Peer, name: string, lease: bigint): BegunCall<LockResponse> {
    return peer.client.begin(Lock.method.lock, { name: bytes(name), lease });
  }

  async function locked(call: BegunCall<LockResponse>): Promise<unknown> {
    return comparable(LockResponseSchema, await call.outcome);
  }

  async function unlock(peer: Peer, key: string): Promise<unknown> {
    return comparable(
      UnlockResponseSchema,
      await settled(peer.client.call(Lock.method.unlock, { key: bytes(key) })),
    );
  }

  /** Queues for a lock, and resolves when the place in the queue is taken. */
  async function waits(peer: Peer, name: string, lease: bigint): Promise<BegunCall<LockResponse>> {
    const call = lock(peer, name, lease);
    await peer.untilKey(`${name}/${lease.toString(16)}`, true);
    return call;
  }

  it('a free lock is taken under name/LEASE, twice by the same lease, and given up by Unlock', async () => {
    const seen = await both.see(async (peer) => {
      await peer.grant(0x1abcn);
      return [
        await locked(lock(peer, 'free', 0x1abcn)),
        await locked(lock(peer, 'free', 0x1abcn)),
        await peer.contents(),
        await unlock(peer, 'free/1abc'),
        await unlock(peer, 'free/1abc'),
        await peer.contents(),
      ];
    });
    assert.match(JSON.stringify(seen), /free\/1abc/);
  });

  it('without a lease the server grants one of 60 seconds', async () => {
    await both.see(async (peer) => {
      const taken = await locked(lock(peer, 'own', 0n));
      const { kvs } = await peer.client.call(KV.method.range, {
        key: bytes('own/'),
        rangeEnd: bytes('own0'),
      });
      const { grantedTTL } = await peer.client.call(Lease.method.leaseTimeToLive, { ID: kvs[0]!.lease });
      const named = Buffer.from(kvs[0]!.key).toString() === `own/${kvs[0]!.lease.toString(16)}`;
      await peer.revoke(kvs[0]!.lease);
      return [taken, String(grantedTTL), named];
    });
  });

  it('leases that do not exist, empty and odd names, and keys that are none get the same answers', async () => {
    await both.see(async (peer) => {
      await peer.grant(21n);
      return [
        await locked(lock(peer, 'gone', 99n)),
        await locked(lock(peer, 'gone', -5n)),
        await locked(lock(peer, '', 21n)),
        await locked(lock(peer, 'a/\xff', 21n)),
        await unlock(peer, ''),
        await unlock(peer, 'nothing'),
        await peer.contents(),
        await peer.revoke(21n),
      ];
    });
  });

  it('a message that is none gets the same code', async () => {
    await both.see(async ({ client }) => {
      const truncated = Uint8Array.of(10, 200, 1);
      return (await failureOf(client.callBytes(Lock.method.lock, truncated))).code;
    });
  });

  it('those who wait get the lock in their order', async () => {
    await both.see(async (peer) => {
      await peer.grant(31n, 32n, 33n);
      const seen = [await locked(lock(peer, 'turns', 31n))];
      const second = await waits(peer, 'turns', 32n);
      const third = await waits(peer, 'turns', 33n);
      seen.push(await unlock(peer, 'turns/1f'), await locked(second));
      seen.push(await unlock(peer, 'turns/20'), await locked(third));
      seen.push(await unlock(peer, 'turns/21'), await peer.contents());
      return seen;
    });
  });

  it('a waiter that goes away leaves the queue, and the one behind it does not wait for it', async () => {
    await both.see(async (peer) => {
      await peer.grant(41n, 42n, 43n);
      const seen = [await locked(lock(peer, 'leave', 41n))];
      const second = await waits(peer, 'leave', 42n);
      const third = await waits(peer, 'leave', 43n);
      second.cancel();
      await peer.untilKey('leave/2a', false);
      seen.push(await peer.contents(), await unlock(peer, 'leave/29'), await locked(third));
      return [...seen, await unlock(peer, 'leave/2b')];
    });
  });

  it("a holder's lease that ends gives the lock up; a waiter's that ended loses its place", async () => {
    await both.see(async (peer) => {
      await peer.grant(51n, 52n, 53n);
      const seen = [await locked(lock(peer, 'lease', 51n))];
      const second = await waits(peer, 'lease', 52n);
      const third = await waits(peer, 'lease', 53n);
      await peer.revoke(52n);
      await peer.revoke(51n);
      seen.push(await locked(second), await locked(third), await peer.contents());
      return [...seen, await unlock(peer, 'lease/35')];
    });
  });

  it("any key under the lock's name that came first holds the lock, until it is deleted", async () => {
    await both.see(async (peer) => {
      await peer.grant(61n);
      await peer.client.call(KV.method.put, { key: bytes('foreign/x') });
      const waiting = await waits(peer, 'foreign', 61n);
      // A change of the key in front does not wake the waiter.
      await peer.client.call(KV.method.put, { key: bytes('foreign/x'), value: bytes('still') });
      await peer.client.call(KV.method.deleteRange, { key: bytes('foreign/x') });
      return [await locked(waiting), await unlock(peer, 'foreign/3d')];
    });
  });
});
