import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DescMessage, DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Election } from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { CallerClient, type Shown } from '../auth/caller-client.ts';
import { addUser, enableAuth } from '../auth/fixture.ts';
import { bytes } from '../support/etcd-client.ts';
import { missingTools } from '../support/tools.ts';
import { Both, comparable, type Peer } from './both.ts';

/** Locks and elections are calls in the name of whoever asks for them. */
describe('locks and elections with Auth', { timeout: 60_000, skip: missingTools('go') }, () => {
  const both = new Both();
  const shown = new Map<Peer, Shown>();

  async function call<I extends DescMessage, O extends DescMessage>(
    peer: Peer,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    who: Shown,
  ): Promise<unknown> {
    return comparable(method.output, await peer.client.begin(method, request, who).outcome);
  }

  it('a user locks and leads where it may write, and nowhere else; nobody without a name', async () => {
    await both.see(async (peer) => {
      await peer.grant(71n, 72n);
      const caller = new CallerClient(peer.authority);
      const root = await enableAuth(caller);
      await addUser(caller, root, 'user', ['mine/', 'mine0']);
      const user = await caller.login('user', 'user');
      shown.set(peer, user);
      caller.close();
      const seen: unknown[] = [];
      for (const who of [user, {}, { token: 'forged' }, root]) {
        for (const name of ['mine/x', 'mine', 'yours']) {
          const key = bytes(`${name}/48`);
          const leader = { name: bytes(name), key, rev: 1n, lease: 72n };
          seen.push(
            await call(peer, Lock.method.lock, { name: bytes(name), lease: 71n }, who),
            await call(peer, Lock.method.unlock, { key: bytes(`${name}/47`) }, who),
            await call(peer, Election.method.campaign, { name: bytes(name), lease: 72n }, who),
            await call(peer, Election.method.leader, { name: bytes(name) }, who),
            await call(peer, Election.method.proclaim, { leader, value: bytes('x') }, who),
            await call(peer, Election.method.resign, { leader }, who),
            await call(peer, Lock.method.unlock, { key }, who),
          );
        }
      }
      return seen;
    });
  });

  // In etcd that key stays until its lease ends: there the clean-up is nobody's call, and refused.
  it('a waiter that goes away leaves the queue here', async () => {
    const peer = both.peers[0]!;
    const user = shown.get(peer)!;
    const range = { key: bytes('mine/y/'), rangeEnd: bytes('mine/y0'), countOnly: true };
    const queued = async (wanted: bigint): Promise<void> => {
      for (;;) {
        const outcome = await peer.client.begin(KV.method.range, range, user).outcome;
        assert.ok('value' in outcome);
        if (outcome.value.count === wanted) return;
      }
    };
    await call(peer, Lock.method.lock, { name: bytes('mine/y'), lease: 71n }, user);
    const waiting = peer.client.begin(Lock.method.lock, { name: bytes('mine/y'), lease: 72n }, user);
    await queued(2n);
    waiting.cancel();
    await queued(1n);
  });
});
