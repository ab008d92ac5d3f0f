import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectionsWithin } from '../../src/main/rpc/client-limits.ts';
import { openFilesMax } from '../../src/shared/base/open-files.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { startNetsy } from '../support/netsy.ts';

const OPEN_FILES = 256;
const LEASE_TTL_MS = 3_000;

describe('few open files', { timeout: 120_000, skip: openFilesMax() === undefined }, () => {
  it('are not taken by clients: writes go on and the lease is kept, whoever connects', async () => {
    const netsy = await startNetsy({
      openFiles: OPEN_FILES,
      arguments: ['--lease-ttl', `${LEASE_TTL_MS}ms`, '--listen-metrics-urls', 'http://127.0.0.1:0'],
    });
    const pages = /"metrics":\["(http:[^"]+)"/.exec(netsy.log())?.[1] ?? '';
    const client = new EtcdClient(netsy.authority);
    const sockets: Socket[] = [];
    try {
      await client.call(KV.method.put, { key: bytes('before') });
      for (const url of [netsy.endpoint, pages]) {
        for (let count = 0; count < OPEN_FILES; count++) {
          const socket = connect(Number(new URL(url).port), '127.0.0.1');
          // Refused, or sent and never answered.
          sockets.push(socket.on('error', () => {}).resume());
          socket.write('GET / HTTP/1.1\r\n');
        }
      }
      await sleep(LEASE_TTL_MS);
      await client.call(KV.method.put, { key: bytes('beside') });
      await client.call(KV.method.range, { key: bytes('beside') });
      assert.doesNotMatch(netsy.log(), /EMFILE|lease ran out|not renewed/);
      assert.match(
        netsy.log(),
        /"maxConnections":10000,"lowered":64,"openFiles":256,"msg":"--max-connections is more/,
      );
    } finally {
      for (const socket of sockets) socket.destroy();
      client.close();
      await netsy.stop();
    }
  });

  it('leave a part to clients, of many URLs too, and many leave as many connections as are asked for', () => {
    assert.equal(connectionsWithin(1_048_576, 2, 10_000), 10_000);
    assert.equal(connectionsWithin(Number.POSITIVE_INFINITY, 1, 10_000), 10_000);
    assert.equal(connectionsWithin(4_096, 1, 10_000), 3_584);
    assert.equal(connectionsWithin(1_024, 2, 10_000), 256);
    assert.equal(connectionsWithin(512, 1, 10_000), 128);
    assert.equal(connectionsWithin(2, 3, 10_000), 1);
  });
});
