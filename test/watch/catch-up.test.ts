import assert from 'node:assert/strict';
import test from 'node:test';
import type { Ask, Client } from './world.ts';
import { createRequest, World } from './world.ts';

function watch(world: World, wanted: Ask): Client {
  const client = world.open();
  client.stream.request(createRequest(wanted));
  client.sink.take();
  return client;
}

const revisions = (client: Client): number[] =>
  client.sink.take().flatMap((response) => response.events.map((event) => event.revision));

const upTo = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);

test('while nothing is applied, the ring keeps what is published, so a watcher from the past still joins', async () => {
  const world = new World({ ringBytesMax: 0 });
  for (let at = 0; at < 5; at++) world.put('a');
  world.apply(4);
  const client = watch(world, { key: 'a', startRevision: 2 });
  for (let at = 0; at < 5; at++) world.put('a');
  world.replays.answer();
  await world.settle();
  assert.deepEqual(revisions(client), upTo(2, 11));
  assert.equal(world.hub.counts().synced, 1);
});

test('a watcher whose start is still in the ring joins at once, without a replay', () => {
  const world = new World();
  for (let at = 0; at < 5; at++) world.put('a');
  world.apply();
  const client = watch(world, { key: 'a', startRevision: 1 + 2 });
  assert.deepEqual(world.replays.held, []);
  assert.equal(world.hub.counts().synced, 1);
  world.put('a');
  assert.deepEqual(revisions(client), [7]);
});

test('a batch without events moves the revision on, and a watcher that catches up over it joins', () => {
  const world = new World();
  world.put('a');
  world.hub.publish({ lastRevision: 5, events: [] });
  const client = world.open();
  client.stream.request(createRequest({ key: 'a', startRevision: 2 }));
  assert.deepEqual(revisions(client), [2]);
  assert.equal(world.hub.counts().synced, 1);
  client.stream.request({ kind: 'progress' });
  assert.equal(client.sink.take()[0]?.revision, 5);
});

test('the ring gives up what is applied when it is over its bytes, and says so in its counts', () => {
  const world = new World({ ringBytesMax: 1000 });
  for (let at = 0; at < 100; at++) world.put('a', 'x'.repeat(100));
  const held = world.hub.counts().ringBytes;
  assert.ok(held > 10_000, 'nothing is applied yet');
  world.apply();
  assert.ok(world.hub.counts().ringBytes <= 1000);
});

test('a slow client does not hold memory: its stream stays at its limit, and it sees everything when it reads', async () => {
  const world = new World({ ringBytesMax: 0, streamBufferBytesMax: 2000, stepBytes: 1000 });
  const client = watch(world, { key: 'a' });
  for (let at = 0; at < 200; at++) {
    world.put('a', 'x'.repeat(100));
    world.apply();
  }
  assert.ok(client.sink.pendingBytes < 2500);
  assert.deepEqual([world.hub.counts().synced, world.hub.counts().unsynced], [0, 1]);
  const seen = revisions(client);
  for (let turns = 0; turns < 200 && seen.length < 200; turns++) {
    client.sink.read(client.stream);
    world.replays.answer();
    await world.settle();
    assert.ok(client.sink.pendingBytes < 4000);
    seen.push(...revisions(client));
  }
  assert.deepEqual(seen, upTo(2, 201));
  assert.equal(world.hub.counts().synced, 1);
});

test('with many streams each may hold less, so that all together stay bounded', () => {
  const world = new World({ streamBufferBytesMax: 1 << 20, totalBufferBytesMax: 1 << 20 });
  const clients = Array.from({ length: 8 }, () => watch(world, { key: 'a' }));
  for (let at = 0; at < 100; at++) world.put('a', 'x'.repeat(10_000));
  for (const client of clients) assert.ok(client.sink.pendingBytes < (1 << 20) / 8 + 11_000);
  assert.equal(world.hub.counts().pendingEvents > 0, true);
});

test('many watchers from the past share the replays in turn, at most four under way', async () => {
  const world = new World({ ringBytesMax: 0, stepBytes: 1 });
  for (let at = 0; at < 3; at++) world.put('a');
  world.apply();
  const clients = Array.from({ length: 10 }, () => watch(world, { key: 'a', startRevision: 2 }));
  assert.equal(world.replays.held.length, 4);
  for (let at = 0; at < 10; at++) {
    world.replays.answer();
    await world.settle();
  }
  assert.deepEqual(
    clients.map((client) => revisions(client).length),
    Array(10).fill(1),
    'each had one piece',
  );
  while (world.replays.answer()) await world.settle();
  assert.deepEqual(clients.map(revisions), Array(10).fill([3, 4]));
  assert.equal(world.replays.most, 4);
});

test('a replay that fails or that is behind its watcher is tried again, and nothing is lost', async () => {
  const world = new World({ ringBytesMax: 0 });
  world.put('a');
  world.apply();
  const client = watch(world, { key: 'a', startRevision: 2 });
  world.replays.fail();
  await world.settle();
  world.clock.advance(100);
  const [behind] = world.replays.held.splice(0);
  behind?.resolve({ kind: 'events', events: [], coveredRevision: 1 });
  await world.settle();
  assert.equal(world.hub.counts().unsynced, 1);
  world.clock.advance(100);
  world.replays.answer();
  await world.settle();
  assert.deepEqual(revisions(client), [2]);
});

test('a watcher that is canceled while its replay is under way gets nothing of it', async () => {
  const world = new World({ ringBytesMax: 0 });
  world.put('a');
  world.apply();
  const client = watch(world, { key: 'a', startRevision: 2 });
  client.stream.request({ kind: 'cancel', watchId: 0 });
  client.sink.take();
  world.replays.answer();
  await world.settle();
  assert.deepEqual(client.sink.take(), []);
});

test('a compaction that passes a slow watcher cancels it with the compact revision when it reads again', () => {
  const world = new World({ streamBufferBytesMax: 100 });
  const client = watch(world, { key: 'a' });
  for (let at = 0; at < 10; at++) world.put('a', 'x'.repeat(50));
  world.apply();
  const before = revisions(client);
  world.log.compactRevision = 9;
  world.hub.compactedTo(9);
  client.sink.read(client.stream);
  const [canceled] = client.sink.take();
  assert.deepEqual([canceled?.canceled, canceled?.compactRevision, canceled?.watchId], [true, 9, 0]);
  assert.deepEqual(before, upTo(2, 1 + before.length));
  assert.equal(world.hub.counts().unsynced, 0);
});

test('reading the ring for many watchers gives the event loop its turn', () => {
  const world = new World({ ringBytesMax: 1 << 24 });
  for (let at = 0; at < 50; at++)
    world.publish(...Array.from({ length: 200 }, (_, key) => [{ key: `k${key}`, value: 'v' }]));
  const clients = Array.from({ length: 10 }, () => watch(world, { key: 'k1', startRevision: 2 }));
  assert.ok(world.hub.counts().unsynced > 5, 'the first turn serves only a few');
  for (let turn = 0; turn < 20; turn++) world.clock.advance(1);
  assert.equal(world.hub.counts().synced, clients.length);
  world.put('k1');
  for (const client of clients) assert.equal(revisions(client).at(-1), world.log.revision);
});
