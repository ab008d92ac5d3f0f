import assert from 'node:assert/strict';
import test from 'node:test';
import { OwnWatch } from '../../src/main/concurrency/own-watch.ts';
import { EtcdError, GrpcCode, RefusedError } from '../../src/shared/etcd/errors.ts';
import { createRequest, World } from '../watch/world.ts';

function watch(world: World, startRevision = 0, stop = new AbortController()): OwnWatch {
  return new OwnWatch(world.hub, createRequest({ key: 'a', startRevision }).create, stop.signal);
}

test('an own watch gives each response with events, one after the other', async () => {
  const world = new World();
  const own = watch(world);
  const first = own.next();
  world.put('a', '1');
  world.put('b', 'not watched');
  world.put('a', '2');
  const values = [await first, await own.next()].map(({ events }) =>
    Buffer.from(events[0]!.kv!.value).toString(),
  );
  assert.deepEqual(values, ['1', '2']);
  own.close();
  assert.equal(world.hub.counts().streams, 0);
});

test('an own watch that a compaction passed ends with the error that etcd gives', async () => {
  const world = new World({ ringBytesMax: 0 });
  for (let revision = 2; revision <= 9; revision++) world.put('a');
  world.apply();
  const own = watch(world, 3);
  world.log.compactRevision = 8;
  world.hub.compactedTo(8);
  const next = own.next();
  await world.settle();
  world.replays.answer();
  await assert.rejects(next, new EtcdError('Compacted'));
});

test('an own watch ends with the server, and with its signal', async () => {
  const world = new World();
  const stop = new AbortController();
  const [ended, aborted] = [watch(world).next(), watch(world, 0, stop).next()];
  stop.abort(new EtcdError('Canceled'));
  await assert.rejects(aborted, new EtcdError('Canceled'));
  world.hub.stop({ code: GrpcCode.Unavailable, message: 'etcdserver: server stopped' });
  await assert.rejects(ended, new RefusedError(GrpcCode.Unavailable, 'etcdserver: server stopped'));
  await assert.rejects(watch(world).next(), /server stopped/);
});

test('what nobody takes stays within the stream buffer, and is there when it is taken', async () => {
  const world = new World({ streamBufferBytesMax: 64 * 1024, stepBytes: 1024 });
  const own = watch(world);
  const puts = 200;
  for (let index = 0; index < puts; index++) {
    world.put('a', 'x'.repeat(2048));
    world.apply();
  }
  assert.ok(own.pendingBytes > 32 * 1024 && own.pendingBytes < 80 * 1024, `${own.pendingBytes} bytes`);
  assert.equal(world.hub.counts().unsynced, 1, 'the hub holds the rest back');
  let seen = 0;
  while (seen < puts) {
    const next = own.next();
    await world.settle();
    world.replays.answer();
    seen += (await next).events.length;
  }
  assert.equal(seen, puts);
  own.close();
});
