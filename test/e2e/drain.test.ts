import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV, Lease, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, settled } from '../support/etcd-client.ts';
import { startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway } from '../support/versitygw.ts';

const STOPPED = { code: status.UNAVAILABLE, details: 'etcdserver: server stopped' };

describe('SIGTERM drains:', { timeout: 120_000 }, () => {
  it('watches and lease keep-alives end with the code that etcd’s clients go on after, at once', async () => {
    const netsy = await startNetsy({ arguments: ['--drain-timeout', '1m'] });
    const client = new EtcdClient(netsy.authority);
    const { ID: id } = await client.call(Lease.method.leaseGrant, { TTL: 60n });
    const ends = [
      settled(
        client.watch(Watch.method.watch, {
          requestUnion: { case: 'createRequest', value: { key: bytes('k') } },
        }),
      ),
      settled(client.watch(Lease.method.leaseKeepAlive, { ID: id })),
    ];
    await client.call(KV.method.put, { key: bytes('other') });
    const began = systemClock.monotonicMs();
    assert.equal(await netsy.stop(), 'exit code 0');
    for (const end of await Promise.all(ends)) {
      assert.ok('failure' in end);
      assert.deepEqual({ code: end.failure.code, details: end.failure.details }, STOPPED);
    }
    assert.ok(systemClock.monotonicMs() - began < 30_000, 'nobody was waited for');
    client.close();
    // The lease in the store was released: another node takes over without waiting for its end.
    const store = ['--store', `file://${netsy.dataDir}/store`, '--lease-ttl', '1m'];
    const next = await startNetsy({ dataDir: temporaryDirectory(), arguments: store, readyWithinMs: 30_000 });
    assert.match(next.log(), /"role":"primary"/);
    await next.stop();
  });

  it('a store that does not answer is waited for no longer than --drain-timeout', {
    skip: missingTools('go'),
  }, async () => {
    const gateway = await startVersityGateway({ buckets: ['drain'] });
    const proxy = await TcpProxy.start(Number(new URL(gateway.endpoint).port));
    try {
      const netsy = await startNetsy({
        arguments: ['--store', 's3://drain/x', '--request-timeout', '5m', '--drain-timeout', '1s'],
        environment: { ...gateway.environment, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${proxy.port}` },
      });
      const client = new EtcdClient(netsy.authority);
      await client.call(KV.method.put, { key: bytes('before') });
      proxy.mode = 'hang';
      const writing = client.begin(KV.method.put, { key: bytes('k') });
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(await netsy.stop(), 'exit code 0');
      assert.match(netsy.log(), /not drained within --drain-timeout/);
      const outcome = await writing.outcome;
      assert.ok('failure' in outcome);
      assert.deepEqual({ code: outcome.failure.code, details: outcome.failure.details }, STOPPED);
      client.close();
    } finally {
      await proxy.stop();
      await gateway.stop();
    }
  });
});

/** A keep-alive stream that was answered, or why there is none. */
function keptAlive(client: EtcdClient, id: bigint): Promise<{ cancel(): void } | string> {
  return new Promise((resolve) => {
    const stream = client.open(
      Lease.method.leaseKeepAlive,
      () => resolve(stream),
      (failure) => resolve(`${failure?.code} ${failure?.details}`),
    );
    stream.send({ ID: id });
  });
}

describe('--max-streams', { timeout: 60_000 }, () => {
  it('refuses a stream more, as one that may be tried again, and takes it when another has ended', async () => {
    const netsy = await startNetsy({ arguments: ['--max-streams', '2'] });
    const client = new EtcdClient(netsy.authority);
    const { ID: id } = await client.call(Lease.method.leaseGrant, { TTL: 60n });
    const first = await keptAlive(client, id);
    const second = await keptAlive(client, id);
    assert.ok(typeof first !== 'string' && typeof second !== 'string');
    assert.equal(
      await keptAlive(client, id),
      `${status.UNAVAILABLE} netsy: 2 streams are open; see --max-streams`,
    );
    first.cancel();
    let third = await keptAlive(client, id);
    for (let tries = 0; tries < 100 && typeof third === 'string'; tries++)
      third = await keptAlive(client, id);
    assert.ok(typeof third !== 'string');
    second.cancel();
    third.cancel();
    client.close();
    await netsy.stop();
  });
});
