import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { Passwords } from '../../src/main/auth/passwords.ts';
import { AuthStore } from '../../src/main/auth/store.ts';
import { noTokens } from '../../src/main/auth/tokens.ts';
import { Metrics } from '../../src/main/ops/metrics.ts';
import { Guard } from '../../src/main/rpc/guard.ts';
import { addService } from '../../src/main/rpc/service.ts';
import { watchHandlers } from '../../src/main/rpc/watch.ts';
import { EtcdError, GrpcCode } from '../../src/shared/etcd/errors.ts';
import { Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Writer } from '../../src/shared/etcd/wire.ts';
import type { SeenResponse } from './responses.ts';
import { decodeWatchResponse } from './responses.ts';
import { World } from './world.ts';

type Call = grpc.ClientDuplexStream<Buffer, Buffer>;

interface Served {
  world: World;
  open(): Call;
}

/** Of a server without users. */
function openGuard(): Guard {
  const tokens = noTokens(() => new EtcdError('AuthFailed'));
  return new Guard(new AuthStore({ tokens, passwords: new Passwords(4), follow: () => {} }), false);
}

/** Runs `body` against a server on a free port, and ends both afterwards. */
async function withServer(world: World, body: (served: Served) => Promise<void>): Promise<void> {
  const server = new grpc.Server();
  addService(server, Watch, Promise.resolve(watchHandlers(world.hub, openGuard())), (...of) =>
    new Metrics().calls(...of),
  );
  const port = await new Promise<number>((resolve, reject) => {
    const bound = (error: Error | null, port: number): void => (error ? reject(error) : resolve(port));
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), bound);
  });
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const sameBytes = (bytes: Buffer): Buffer => bytes;
  const open = (): Call => client.makeBidiStreamRequest('/etcdserverpb.Watch/Watch', sameBytes, sameBytes);
  try {
    await body({ world, open });
  } finally {
    client.close();
    server.forceShutdown();
  }
}

/** A create request for one key, by etcd's field numbers. */
function createBytes(key: string): Buffer {
  const create = new Writer();
  create.varint(10);
  create.delimited(Buffer.from(key));
  const request = new Writer();
  request.varint(10);
  request.delimited(create.finish());
  return Buffer.from(request.finish());
}

async function next(call: Call): Promise<SeenResponse> {
  const [bytes] = (await once(call, 'data')) as [Buffer];
  return decodeWatchResponse(bytes);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

test("through grpc-js, a stopped hub ends the stream as unavailable with etcd's text", async () => {
  await withServer(new World(), async ({ world, open }) => {
    const call = open();
    call.write(createBytes('a'));
    assert.equal((await next(call)).created, true);
    const event = next(call);
    world.put('a', 'value');
    assert.equal((await event).events[0]?.value, 'value');
    const failed = once(call, 'error') as Promise<[grpc.ServiceError]>;
    world.hub.stop({ code: GrpcCode.Unavailable, message: 'etcdserver: server stopped' });
    const [error] = await failed;
    assert.deepEqual([error.code, error.details], [grpc.status.UNAVAILABLE, 'etcdserver: server stopped']);
  });
});

test('a malformed request ends its stream as internal and leaves the connection to others', async () => {
  await withServer(new World(), async ({ world, open }) => {
    const [bad, good] = [open(), open()];
    good.write(createBytes('a'));
    await next(good);
    const failed = once(bad, 'error') as Promise<[grpc.ServiceError]>;
    bad.resume();
    bad.write(Buffer.from([0x0a, 0x7f, 0x01]));
    assert.equal((await failed)[0].code, grpc.status.INTERNAL);
    const event = next(good);
    world.put('a');
    assert.equal((await event).events.length, 1);
    assert.equal(world.hub.counts().streams, 1);
    good.on('error', () => {});
    good.cancel();
  });
});

test('a client that canceled its call, or went away after its last request, leaves no watcher behind', async () => {
  await withServer(new World(), async ({ world, open }) => {
    const call = open();
    call.on('error', () => {});
    call.write(createBytes('a'));
    await next(call);
    call.end();
    const event = next(call);
    world.put('a');
    assert.equal((await event).events.length, 1, 'a half-closed stream still gets events');
    call.cancel();
    await until(() => world.hub.counts().streams === 0);
    assert.equal(world.hub.counts().synced, 0);
  });
});

test('a client that stops reading fills its own stream only to the limit, then gets every event', async () => {
  const world = new World({ streamBufferBytesMax: 1 << 18, stepBytes: 1 << 16, ringBytesMax: 1 << 28 });
  await withServer(world, async ({ open }) => {
    const call = open();
    call.on('error', () => {});
    call.write(createBytes('a'));
    await next(call);
    call.pause();
    const value = 'x'.repeat(10_000);
    for (let at = 0; at < 2000; at++) {
      world.put('a', value);
      if (at % 50 === 0) await world.settle();
    }
    const { pendingBytes, unsynced } = world.hub.counts();
    assert.ok(pendingBytes > 0 && pendingBytes < (1 << 18) + 20_000, `${pendingBytes} bytes are pending`);
    assert.equal(unsynced, 1);
    const seen: number[] = [];
    call.on('data', (bytes: Buffer) =>
      seen.push(...decodeWatchResponse(bytes).events.map((event) => event.revision)),
    );
    call.resume();
    while (seen.length < 2000) {
      world.clock.advance(1);
      await world.settle();
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 2000 }, (_, at) => at + 2),
    );
    assert.equal(world.hub.counts().synced, 1);
    call.cancel();
  });
});
