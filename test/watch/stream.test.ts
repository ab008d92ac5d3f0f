import assert from 'node:assert/strict';
import test from 'node:test';
import { InvariantError } from '../../src/shared/base/assert.ts';
import { GrpcCode } from '../../src/shared/etcd/errors.ts';
import type { SeenResponse } from './responses.ts';
import type { Ask, Client } from './world.ts';
import { createRequest, World } from './world.ts';

const STOPPED = { code: GrpcCode.Unavailable, message: 'etcdserver: server stopped' };

function ask(client: Client, wanted: Ask): SeenResponse[] {
  client.stream.request(createRequest(wanted));
  return client.sink.take();
}

function progress(client: Client): SeenResponse[] {
  client.stream.request({ kind: 'progress' });
  return client.sink.take();
}

function cancel(client: Client, watchId: number): SeenResponse[] {
  client.stream.request({ kind: 'cancel', watchId });
  return client.sink.take();
}

const keys = (responses: SeenResponse[]): string[] =>
  responses.flatMap((response) => response.events.map((event) => event.key));

test('watch ids count up from 0 per stream and step over the ids that the client chose', () => {
  const client = new World().open();
  const ids = [0, 1, 0, 7, 0].map((watchId) => ask(client, { key: 'a', watchId })[0]!.watchId);
  assert.deepEqual(ids, [0, 1, 2, 7, 3]);
});

test('a canceled automatic id is not given again, a canceled chosen id may be chosen again', () => {
  const client = new World().open();
  ask(client, { key: 'a' });
  ask(client, { key: 'a', watchId: 5 });
  cancel(client, 0);
  cancel(client, 5);
  assert.equal(ask(client, { key: 'a' })[0]!.watchId, 1);
  assert.equal(ask(client, { key: 'a', watchId: 5 })[0]!.watchId, 5);
});

test('a watch that etcd refuses is created and canceled at once under id -1 with its reason', () => {
  const client = new World().open();
  ask(client, { key: 'a', watchId: 3 });
  const refused: [Ask, string][] = [
    [{ key: 'a', watchId: 3 }, 'mvcc: duplicate watch ID provided on the WatchStream'],
    [{ key: 'b', rangeEnd: 'b' }, 'mvcc: watcher range is empty'],
    [{ key: 'b', rangeEnd: 'a' }, 'mvcc: watcher range is empty'],
    [{ key: 'b', startRevision: -1 }, 'etcdserver: mvcc: required revision has been compacted'],
  ];
  for (const [wanted, reason] of refused) {
    const [answer] = ask(client, wanted);
    assert.deepEqual(
      [answer?.watchId, answer?.created, answer?.canceled, answer?.cancelReason, answer?.revision],
      [-1, true, true, reason, 1],
    );
  }
});

test('single keys, ranges, "from the key on" and "everything" see their keys and no others', () => {
  const world = new World();
  const cases: [string, string, string[]][] = [
    ['b', '', ['b']],
    ['a', 'b', ['a', 'aa']],
    ['b', '\0', ['b', 'b\xff', 'c']],
    ['\0', '\0', ['\0', 'a', 'aa', 'b', 'b\xff', 'c']],
    ['', '\0', ['\0', 'a', 'aa', 'b', 'b\xff', 'c']],
    ['', '', ['\0']],
  ];
  const clients = cases.map(([key, rangeEnd]) => {
    const client = world.open();
    ask(client, { key, rangeEnd });
    return client;
  });
  world.publish(...['\0', 'a', 'aa', 'b', 'b\xff', 'c'].map((key) => [{ key, value: 'v' }]));
  for (const [at, [, , wanted]] of cases.entries()) assert.deepEqual(keys(clients[at]!.sink.take()), wanted);
});

test('one batch makes one response per watcher, whose header has the last of its revisions', () => {
  const world = new World();
  const client = world.open();
  ask(client, { key: 'a', rangeEnd: 'b' });
  world.publish([{ key: 'a', value: '1' }], [{ key: 'ab', value: '2' }], [{ key: 'z', value: '3' }]);
  const [response, ...more] = client.sink.take();
  assert.deepEqual([response?.revision, response?.events.length, more.length], [3, 2, 0]);
});

test('a batch larger than a response may be is split between revisions and not within one', () => {
  const world = new World({ stepBytes: 100 });
  const client = world.open();
  ask(client, { key: 'a', rangeEnd: 'b' });
  const value = 'x'.repeat(60);
  world.publish(
    [
      { key: 'a1', value },
      { key: 'a2', value },
    ],
    [{ key: 'a3', value: '' }],
    [{ key: 'a4', value: '' }],
  );
  const seen = client.sink.take().map((response) => [response.revision, keys([response]).join()]);
  assert.deepEqual(seen, [
    [2, 'a1,a2'],
    [4, 'a3,a4'],
  ]);
});

test('filters drop puts or deletes, and a response that would be empty is not sent', () => {
  const world = new World();
  const [noPut, noDelete] = [world.open(), world.open()];
  ask(noPut, { key: 'a', filters: [0] });
  ask(noDelete, { key: 'a', filters: [1] });
  world.put('a');
  world.publish([{ key: 'a', value: undefined }]);
  assert.deepEqual(
    noPut.sink.take().map((response) => response.events[0]?.isDelete),
    [true],
  );
  assert.deepEqual(
    noDelete.sink.take().map((response) => response.events[0]?.isDelete),
    [false],
  );
});

test('prev_kv goes only to the watchers that asked for it', () => {
  const world = new World();
  const [plain, previous] = [world.open(), world.open()];
  ask(plain, { key: 'a' });
  ask(previous, { key: 'a', prevKv: true });
  world.put('a', 'old');
  world.put('a', 'new');
  assert.deepEqual(
    plain.sink.take().map((response) => response.events[0]?.hasPrevKv),
    [false, false],
  );
  assert.deepEqual(
    previous.sink.take().map((response) => response.events[0]?.hasPrevKv),
    [false, true],
  );
});

test('a watch from a future revision sees nothing before it', () => {
  const world = new World();
  const client = world.open();
  ask(client, { key: 'a', startRevision: 4 });
  world.publish([{ key: 'a', value: '2' }], [{ key: 'a', value: '3' }], [{ key: 'a', value: '4' }]);
  world.put('a', '5');
  assert.deepEqual(
    client.sink.take().flatMap((response) => response.events.map((event) => event.value)),
    ['4', '5'],
  );
});

test('a canceled watch is answered once, without a reason, and gets nothing more', () => {
  const world = new World();
  const client = world.open();
  ask(client, { key: 'a' });
  const [answer] = cancel(client, 0);
  assert.deepEqual([answer?.watchId, answer?.canceled, answer?.cancelReason], [0, true, '']);
  assert.deepEqual(cancel(client, 0), []);
  world.put('a');
  assert.deepEqual(client.sink.take(), []);
  assert.deepEqual([world.hub.counts().synced, world.hub.counts().unsynced], [0, 0]);
});

test('a watch from a compacted revision is created, then canceled with the compact revision, and its cancel is answered', () => {
  const world = new World({ currentRevision: 9, compactRevision: 5 });
  const client = world.open();
  const [created, canceled] = ask(client, { key: 'a', startRevision: 4 });
  assert.deepEqual([created?.created, created?.canceled, created?.watchId], [true, false, 0]);
  assert.deepEqual(
    [
      canceled?.canceled,
      canceled?.created,
      canceled?.compactRevision,
      canceled?.watchId,
      canceled?.cancelReason,
    ],
    [true, false, 5, 0, ''],
  );
  assert.equal(cancel(client, 0)[0]?.canceled, true);
  assert.deepEqual(cancel(client, 0), []);
});

test('a watch from the compacted revision itself is served', async () => {
  const world = new World({ currentRevision: 9, compactRevision: 5 });
  const client = world.open();
  ask(client, { key: 'a', startRevision: 5 });
  assert.equal(world.replays.answer(), true);
  await world.settle();
  assert.deepEqual(client.sink.take(), []);
  assert.equal(world.hub.counts().synced, 1);
});

test('requested progress carries id -1 and the published revision, and needs a watcher that has begun', () => {
  const world = new World();
  const client = world.open();
  assert.deepEqual(progress(client), [], 'a stream without watchers gets none');
  ask(client, { key: 'a' });
  world.put('z');
  const [answer] = progress(client);
  assert.deepEqual([answer?.watchId, answer?.revision, answer?.events.length], [-1, 2, 0]);
  ask(client, { key: 'a', startRevision: 9 });
  assert.deepEqual(progress(client), [], 'a watcher that begins later holds it back, as in etcd');
});

test('progress requested while a watcher replays is answered once, after its events', async () => {
  const world = new World({ ringBytesMax: 0 });
  const client = world.open();
  world.put('a');
  world.apply();
  ask(client, { key: 'a', startRevision: 2 });
  assert.deepEqual([...progress(client), ...progress(client)], []);
  world.replays.answer();
  await world.settle();
  const seen = client.sink
    .take()
    .map((response) => [response.watchId, response.revision, response.events.length]);
  assert.deepEqual(seen, [
    [0, 2, 1],
    [-1, 2, 0],
  ]);
  assert.deepEqual(ask(client, { key: 'b' }).length, 1, 'nothing is owed any more');
});

test('progress notifications come after a quiet interval with jitter, and not to a watch that got events or did not ask', () => {
  const world = new World({ progressNotifyIntervalMs: 1000 });
  const client = world.open();
  ask(client, { key: 'a', progressNotify: true });
  ask(client, { key: 'b', progressNotify: true });
  ask(client, { key: 'c' });
  world.put('a');
  client.sink.take();
  world.clock.advance(1049);
  assert.deepEqual(client.sink.take(), []);
  world.clock.advance(1);
  assert.deepEqual(
    client.sink.take().map((response) => [response.watchId, response.revision]),
    [[1, 2]],
  );
  world.clock.advance(1050);
  assert.deepEqual(
    client.sink.take().map((response) => response.watchId),
    [0, 1],
  );
  client.stream.close();
  assert.equal(world.clock.waiting, 0, 'a closed stream leaves no timer');
});

test('a fragmented watch gets one revision in responses below the limit, all but the last marked', () => {
  const world = new World({ fragmentBytesMax: 200 });
  const [whole, cut] = [world.open(), world.open()];
  ask(whole, { key: 'a', rangeEnd: 'b' });
  ask(cut, { key: 'a', rangeEnd: 'b', fragment: true });
  world.publish(Array.from({ length: 7 }, (_, at) => ({ key: `a${at}`, value: 'x'.repeat(50) })));
  assert.equal(whole.sink.take().length, 1);
  const parts = cut.sink.take();
  assert.ok(parts.length > 2);
  assert.ok(parts.every((part) => part.bytes < 200 && part.revision === 2));
  assert.deepEqual(
    parts.map((part) => part.fragment),
    [...parts.slice(1).map(() => true), false],
  );
  assert.deepEqual(keys(parts), ['a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6']);
});

test('a client that asks and never reads is no longer read from, until it has read', () => {
  const world = new World({ streamBufferBytesMax: 200 });
  const client = world.open();
  for (let at = 0; at < 100 && !client.sink.requestsPaused; at++)
    client.stream.request(createRequest({ key: 'a' }));
  assert.ok(client.sink.requestsPaused);
  assert.ok(client.sink.pendingBytes < 500);
  client.sink.read(client.stream);
  assert.equal(client.sink.requestsPaused, false);
});

test('a stopped hub ends every stream, present and later, and publishes nothing more', () => {
  const world = new World();
  const client = world.open();
  ask(client, { key: 'a' });
  world.hub.stop(STOPPED);
  assert.deepEqual(client.sink.ended, STOPPED);
  world.put('a');
  assert.deepEqual(client.sink.take(), []);
  assert.equal(world.hub.currentRevision, 1);
  assert.deepEqual(world.open().sink.ended, STOPPED);
  assert.equal(world.hub.counts().streams, 0);
});

test('batches out of order stop the process before a watcher sees them', () => {
  const world = new World();
  const client = world.open();
  ask(client, { key: 'a' });
  const first = world.log.append([[{ key: 'a', value: '2' }]]);
  const second = world.log.append([[{ key: 'a', value: '3' }]]);
  world.hub.publish(second);
  assert.throws(() => world.hub.publish(first), InvariantError);
});
