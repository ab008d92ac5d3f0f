import { describe, it } from 'node:test';
import type { DescMessage, DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf';
import {
  type CampaignResponse,
  CampaignResponseSchema,
  Election,
  type LeaderKeySchema,
  LeaderResponseSchema,
} from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { type BegunCall, bytes, failureOf, settled } from '../support/etcd-client.ts';
import { missingTools } from '../support/tools.ts';
import { Both, comparable, type Peer } from './both.ts';

type Leader = MessageInitShape<typeof LeaderKeySchema>;

describe('the election service answers as etcd does', { timeout: 60_000, skip: missingTools('go') }, () => {
  const both = new Both();

  function campaign(peer: Peer, name: string, lease: bigint, value: string): BegunCall<CampaignResponse> {
    return peer.client.begin(Election.method.campaign, { name: bytes(name), lease, value: bytes(value) });
  }

  async function campaigned(call: BegunCall<CampaignResponse>): Promise<unknown> {
    return comparable(CampaignResponseSchema, await call.outcome);
  }

  /** Campaigns behind somebody else, and resolves when the place in the queue is taken. */
  async function waits(
    peer: Peer,
    name: string,
    lease: bigint,
    value: string,
  ): Promise<BegunCall<CampaignResponse>> {
    const call = campaign(peer, name, lease, value);
    await peer.untilKey(`${name}/${lease.toString(16)}`, true);
    return call;
  }

  async function call<I extends DescMessage, O extends DescMessage>(
    peer: Peer,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<unknown> {
    return comparable(method.output, await settled(peer.client.call(method, request)));
  }

  function leads(peer: Peer, name: string): Promise<unknown> {
    return call(peer, Election.method.leader, { name: bytes(name) });
  }

  function proclaim(peer: Peer, leader: Leader | undefined, value: string): Promise<unknown> {
    return call(peer, Election.method.proclaim, { ...(leader && { leader }), value: bytes(value) });
  }

  function resign(peer: Peer, leader: Leader | undefined): Promise<unknown> {
    return call(peer, Election.method.resign, { ...(leader && { leader }) });
  }

  async function leaderKey(peer: Peer, name: string, lease: bigint): Promise<Leader> {
    const key = `${name}/${lease.toString(16)}`;
    const rev = (await peer.createRevision(key)) ?? 0n;
    return { name: bytes(name), key: bytes(key), rev, lease };
  }

  it('one campaigns, campaigns again with another value, proclaims and resigns', async () => {
    await both.see(async (peer) => {
      await peer.grant(11n);
      const seen = [await leads(peer, 'alone'), await campaigned(campaign(peer, 'alone', 11n, 'a'))];
      seen.push(await leads(peer, 'alone'), await campaigned(campaign(peer, 'alone', 11n, 'a')));
      seen.push(await campaigned(campaign(peer, 'alone', 11n, 'b')), await peer.contents());
      const leader = await leaderKey(peer, 'alone', 11n);
      seen.push(await proclaim(peer, leader, 'c'), await leads(peer, 'alone'));
      seen.push(await resign(peer, leader), await resign(peer, leader), await proclaim(peer, leader, 'd'));
      return [...seen, await leads(peer, 'alone'), await peer.contents()];
    });
  });

  it('without a lease the server grants one, also for Proclaim', async () => {
    await both.see(async (peer) => {
      const call = await campaign(peer, 'own', 0n, 'a').outcome;
      if ('failure' in call) return call.failure;
      const leader = { ...call.value.leader!, lease: 0n };
      const seen = [comparable(CampaignResponseSchema, call), await proclaim(peer, leader, 'b')];
      return [...seen, await peer.contents(), await resign(peer, leader), await peer.contents()];
    });
  });

  it('leases that do not exist, and leader keys that are missing, empty or wrong, get the same answers', async () => {
    await both.see(async (peer) => {
      await peer.grant(21n);
      const seen = [await campaigned(campaign(peer, 'bad', 99n, 'a'))];
      seen.push(await campaigned(campaign(peer, 'bad', -5n, 'a')), await proclaim(peer, undefined, 'a'));
      seen.push(await resign(peer, undefined), await proclaim(peer, {}, 'a'), await resign(peer, {}));
      seen.push(await campaigned(campaign(peer, 'bad', 21n, 'a')));
      const leader = await leaderKey(peer, 'bad', 21n);
      for (const wrong of [
        { ...leader, rev: 1n },
        { ...leader, key: bytes('other') },
        { ...leader, rev: -1n },
      ]) {
        seen.push(await proclaim(peer, wrong, 'b'), await resign(peer, wrong));
      }
      seen.push(await proclaim(peer, { ...leader, lease: 99n }, 'b'), await peer.contents());
      const tooLarge = 'x'.repeat(1_600_000);
      seen.push(await proclaim(peer, leader, tooLarge), await resign(peer, leader));
      return [...seen, await campaigned(campaign(peer, 'bad', 21n, tooLarge))];
    });
  });

  it('messages that are none get the same code', async () => {
    await both.see(async ({ client }) => {
      const codes: number[] = [];
      for (const method of [Election.method.campaign, Election.method.proclaim, Election.method.leader]) {
        codes.push((await failureOf(client.callBytes(method, Uint8Array.of(10, 200, 1)))).code);
      }
      codes.push((await failureOf(client.collectBytes(Election.method.observe, Uint8Array.of(10, 9)))).code);
      return codes;
    });
  });

  it('candidates lead in their order, whoever resigns, goes away or loses its lease', async () => {
    await both.see(async (peer) => {
      await peer.grant(31n, 32n, 33n, 34n);
      const seen = [await campaigned(campaign(peer, 'turns', 31n, 'one'))];
      const second = await waits(peer, 'turns', 32n, 'two');
      const third = await waits(peer, 'turns', 33n, 'three');
      const fourth = await waits(peer, 'turns', 34n, 'four');
      seen.push(
        await proclaim(peer, await leaderKey(peer, 'turns', 34n), 'not leading, says so all the same'),
      );
      third.cancel();
      await peer.untilKey('turns/21', false);
      seen.push(await resign(peer, await leaderKey(peer, 'turns', 31n)), await campaigned(second));
      seen.push(await leads(peer, 'turns'));
      await peer.revoke(32n);
      seen.push(await campaigned(fourth), await leads(peer, 'turns'), await peer.contents());
      return [...seen, await resign(peer, await leaderKey(peer, 'turns', 34n))];
    });
  });

  it('Observe says who leads, as soon as somebody does, and everything that is proclaimed', async () => {
    await both.see(async (peer) => {
      await peer.grant(41n, 42n);
      const observed = peer.client.read(Election.method.observe, { name: bytes('seen') });
      const next = async (): Promise<unknown> => {
        const message = await observed.next();
        return message && comparable(LeaderResponseSchema, { value: message });
      };
      const seen: unknown[] = [];
      const waiting = next();
      await campaigned(campaign(peer, 'seen', 41n, 'a'));
      seen.push(await waiting);
      const second = await waits(peer, 'seen', 42n, 'z');
      const leader = await leaderKey(peer, 'seen', 41n);
      for (const value of ['b', 'c', 'd']) {
        await proclaim(peer, leader, value);
        seen.push(await next());
      }
      await resign(peer, leader);
      seen.push(await next(), await campaigned(second));
      // A second observer begins with what is said now.
      const late = peer.client.read(Election.method.observe, { name: bytes('seen') });
      seen.push(comparable(LeaderResponseSchema, { value: (await late.next())! }));
      late.cancel();
      await peer.revoke(42n);
      await peer.grant(43n);
      await campaigned(campaign(peer, 'seen', 43n, 'y'));
      seen.push(await next());
      observed.cancel();
      await peer.revoke(43n);
      return [...seen, await peer.contents()];
    });
  });
});
