import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ServiceError } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from '../../src/shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { Client } from '../crash/client.ts';
import { readHistory } from '../crash/history.ts';
import { Ledger } from '../crash/ledger.ts';
import { writesAgain } from '../crash/nodes.ts';
import { eventually } from '../kube/parallel.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';

const REQUEST_TIMEOUT_MS = 1000;
const QUEUE_REQUESTS = 40;
const BACK_WITHIN_MS = 30_000;
const key = Buffer.from('key');

function put(client: Client, value: string): Promise<unknown> {
  return client.call(KV.method.put, { key, value: Buffer.from(value) });
}

async function read(client: Client, serializable: boolean): Promise<string> {
  const { kvs } = await client.call(KV.method.range, { key, serializable }, 5000);
  return Buffer.from(kvs[0]?.value ?? []).toString();
}

async function health(netsy: Netsy): Promise<{ code: number; health: string; reason: string }> {
  const response = await fetch(`${netsy.endpoint}/health`);
  const body = (await response.json()) as { health: string; reason: string };
  return { code: response.status, ...body };
}

function isTimeout(error: unknown): true {
  const { code, details } = error as ServiceError;
  assert.deepEqual([code, details], [status.UNAVAILABLE, 'etcdserver: request timed out']);
  return true;
}

describe('the store is away', { timeout: 170_000, skip: missingTools('go') }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  let gateway: VersityGateway;
  let proxy: TcpProxy;
  let netsy: Netsy;
  let client: Client;
  let prefixes = 0;

  before(async () => {
    gateway = await startVersityGateway({ buckets: ['outage'] });
    proxy = await TcpProxy.start(Number(new URL(gateway.endpoint).port));
  });

  after(async () => {
    await proxy.stop();
    await gateway.stop();
  });

  async function start(more: readonly string[] = []): Promise<void> {
    netsy = await startNetsy({
      arguments: [
        ...more,
        ...['--store', `s3://outage/${prefixes++}`, '--request-timeout', `${REQUEST_TIMEOUT_MS}ms`],
        ...['--batch-max-requests', '10', '--queue-max-requests', `${QUEUE_REQUESTS}`],
      ],
      environment: { ...gateway.environment, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${proxy.port}` },
    });
    client = new Client(netsy.authority);
  }

  async function end(): Promise<void> {
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
  }

  async function metrics(): Promise<string> {
    return (await fetch(`${netsy.endpoint}/metrics`)).text();
  }

  /** Waits until writes succeed again, which they do by themselves. */
  async function back(): Promise<void> {
    proxy.mode = 'pass';
    await eventually('writes do not succeed again', BACK_WITHIN_MS, () =>
      put(client, 'back').then(
        () => true,
        () => undefined,
      ),
    );
    assert.equal(await read(client, false), 'back');
    const healthy = await health(netsy);
    assert.deepEqual(healthy, { code: 200, health: 'true', reason: '' });
    assert.equal((await client.call(Health.method.check, {})).status, Status.SERVING);
  }

  for (const mode of ['refuse', 'hang'] as const) {
    it(`(${mode}): reads go on, writes wait and time out, and all is well when it is back`, async () => {
      await start();
      await put(client, 'before');
      proxy.mode = mode;
      const writes = ['one', 'two', 'three'].map((value) => put(client, value));
      const timeouts = Promise.all(writes.map((write) => assert.rejects(write, isTimeout)));
      assert.equal(await read(client, true), 'before');
      assert.equal(await read(client, false), 'before');
      await timeouts;
      assert.equal(await read(client, false), 'before', 'what is not durable is not shown');
      const sick = await eventually('/health does not say it', BACK_WITHIN_MS, async () => {
        const answer = await health(netsy);
        return answer.code === 503 ? answer : undefined;
      });
      assert.equal(sick.health, 'false');
      assert.match(sick.reason, /^store is (failing|not answering)/);
      assert.equal((await client.call(Health.method.check, {})).status, Status.NOT_SERVING);
      await back();
      // The writes that timed out were tried on, in their order, each once.
      const values = (await readHistory(client)).map(({ changes }) => changes[0]!.value);
      assert.deepEqual(values.slice(0, 4), ['before', 'one', 'two', 'three']);
      assert.ok(values.slice(4).every((value) => value === 'back'));
      await end();
    });
  }

  it('longer than the lease: linearizable reads and keep-alives wait, leases do not end, and all goes on by itself', async () => {
    await start(['--lease-ttl', '1s']);
    const { ID: lease } = await client.call(Lease.method.leaseGrant, { TTL: 4n });
    await client.call(KV.method.put, { key, value: Buffer.from('before'), lease });
    const wary = new Client(netsy.authority, true);
    const watch = wary.watch();
    watch.send({ requestUnion: { case: 'createRequest', value: { key } } });
    assert.equal((await watch.next()).created, true);
    proxy.mode = 'hang';
    await eventually(
      'linearizable reads go on',
      BACK_WITHIN_MS,
      () => read(client, false).then(() => undefined, isTimeout),
      100,
    );
    assert.equal(await read(client, true), 'before', 'a serializable read needs no lease');
    const keptAlive = new EtcdClient(netsy.authority);
    await assert.rejects(keptAlive.exchange(Lease.method.leaseKeepAlive, [{ ID: lease }]), isTimeout);
    keptAlive.close();
    await assert.rejects(wary.call(KV.method.range, { key, serializable: true }), /etcdserver: no leader/);
    assert.equal((await health(netsy)).code, 503);
    assert.match(await metrics(), /^etcd_server_has_leader 0$/m);
    // Nobody could keep it alive; so it must not end before somebody could have again.
    await systemClock.sleep(4_500);
    assert.equal(await read(client, true), 'before');
    await assert.rejects(watch.next(), /etcdserver: no leader/, 'a watch that requires a leader ends');
    wary.close();
    await back();
    assert.match(await metrics(), /^etcd_server_is_leader 1$/m);
    const { TTL } = await client.call(Lease.method.leaseTimeToLive, { ID: lease });
    assert.ok(TTL > 0n, 'the lease has time again');
    assert.match(netsy.log(), /lease ran out/);
    await end();
  });

  it('while nobody writes: the primary and its standby say that the store fails, and what it said', async () => {
    await start(['--lease-ttl', '1s']);
    const standby = await startNetsy({
      arguments: ['--store', `s3://outage/${prefixes - 1}`, '--lease-ttl', '1s'],
      environment: { ...gateway.environment, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${proxy.port}` },
    });
    const failing = async ({ endpoint }: Netsy): Promise<string | undefined> => {
      const text = await (await fetch(`${endpoint}/metrics`)).text();
      return /^netsy_store_failing (\d)$/m.exec(text)?.[1];
    };
    const untilBoth = (value: string): Promise<true> =>
      eventually(`netsy_store_failing is not ${value}`, BACK_WITHIN_MS, async () => {
        const both = [await failing(netsy), await failing(standby)];
        return both.every((one) => one === value) ? true : undefined;
      });
    await untilBoth('0');
    proxy.mode = 'refuse';
    await untilBoth('1');
    for (const [server, reason] of [
      [netsy, /^the lease in the store is not renewed: cannot create lease\/.+127\.0\.0\.1/],
      [standby, /no leader \(this is a standby, and no primary is seen\): cannot read .+127\.0\.0\.1/],
    ] as const) {
      const sick = await eventually('/health does not say why', BACK_WITHIN_MS, async () => {
        const answer = await health(server);
        return reason.test(answer.reason) ? answer : undefined;
      });
      assert.equal(sick.code, 503);
    }
    proxy.mode = 'pass';
    await untilBoth('0');
    assert.equal(await standby.stop(), 'exit code 0');
    await end();
  });

  it('of the primary alone: it stops answering before its standby takes over, and ends when it learns of that', async () => {
    await start(['--lease-ttl', '1s']);
    const store = `s3://outage/${prefixes - 1}`;
    const standby = await startNetsy({
      arguments: ['--store', store, '--lease-ttl', '1s'],
      environment: gateway.environment,
    });
    await put(client, 'before');
    proxy.mode = 'hang';
    const second = new Client(standby.authority);
    let wroteMs = Number.POSITIVE_INFINITY;
    const taking = writesAgain(second, key, 'after').then(() => {
      wroteMs = systemClock.monotonicMs();
    });
    let lastAnswerMs = 0;
    while (wroteMs === Number.POSITIVE_INFINITY) {
      const begunMs = systemClock.monotonicMs();
      const value = await client
        .call(KV.method.range, { key }, 300)
        .then(({ kvs }) => Buffer.from(kvs[0]!.value).toString())
        .catch(() => undefined);
      if (value === undefined) continue;
      assert.equal(value, 'before');
      lastAnswerMs = begunMs;
    }
    await taking;
    assert.ok(lastAnswerMs < wroteMs, 'it answered after another one had written');
    await assert.rejects(read(client, false), isTimeout);
    proxy.mode = 'pass';
    assert.equal(await netsy.exited, 'exit code 1', netsy.log());
    assert.equal(await read(second, false), 'after');
    client.close();
    second.close();
    assert.equal(await standby.stop(), 'exit code 0');
  });

  it('writes beyond the queue are refused at once, and nothing refused happens', async () => {
    await start();
    await put(client, 'before');
    proxy.mode = 'hang';
    const outcomes = await Promise.allSettled(
      Array.from({ length: 2 * QUEUE_REQUESTS }, (_, index) => put(client, `queued ${index}`)),
    );
    const said = outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason as ServiceError);
    const refused = said.filter(({ details }) => details === 'etcdserver: too many requests');
    assert.equal(refused.length, QUEUE_REQUESTS);
    assert.ok(refused.every(({ code }) => code === status.RESOURCE_EXHAUSTED));
    for (const error of said) if (!refused.includes(error)) isTimeout(error);
    await back();
    const values = (await readHistory(client)).map(({ changes }) => changes[0]!.value);
    for (const value of values) {
      const index = /^queued (\d+)$/.exec(value)?.[1];
      if (index !== undefined) assert.ok(!refused.includes(said[Number(index)]!), `${value} was refused`);
    }
    await end();
  });

  it('answers that are lost are neither lost writes nor written twice', async () => {
    await start();
    await put(client, 'before');
    proxy.mode = 'lose answers';
    const writes = Array.from({ length: 20 }, (_, index) => put(client, `unanswered ${index}`));
    await eventually('no answer was lost', BACK_WITHIN_MS, async () =>
      proxy.lostAnswers > 2 ? true : undefined,
    );
    proxy.mode = 'pass';
    const outcomes = await Promise.allSettled(writes);
    await back();
    const values = (await readHistory(client)).map(({ changes }) => changes[0]!.value);
    assert.equal(new Set(values.slice(0, 21)).size, 21, 'each is there once');
    for (const outcome of outcomes) if (outcome.status === 'rejected') isTimeout(outcome.reason);
    await end();
  });

  it('again and again under load: nothing acknowledged is lost, nothing refused appears', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    await start();
    const ledger = new Ledger(seed, 16);
    const stop = new AbortController();
    const loaded = ledger.load(client, { signal: stop.signal, onUnknown: 'new keys' });
    for (const mode of ['refuse', 'lose answers', 'hang', 'lose answers'] as const) {
      await ledger.untilAcknowledged(100);
      proxy.mode = mode;
      await systemClock.sleep(mode === 'lose answers' ? 300 : 1.5 * REQUEST_TIMEOUT_MS);
      proxy.mode = 'pass';
    }
    await ledger.untilAcknowledged(100);
    stop.abort();
    await loaded;
    await back();
    await client.call(KV.method.deleteRange, { key });
    const history = await readHistory(client);
    ledger.compare(history.filter(({ changes }) => changes[0]!.key !== 'key'));
    test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.unknown} of unknown fate`);
    await end();
  });

  it('a server whose store is away ends when it is told to', async () => {
    await start();
    proxy.mode = 'hang';
    const write = put(client, 'never answered by the store');
    await systemClock.sleep(100);
    const ended = netsy.stop();
    await assert.rejects(write, isTimeout);
    assert.equal(await ended, 'exit code 0');
    client.close();
    proxy.mode = 'pass';
  });
});
