import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { WatchEvent } from '../../src/main/watch/events.ts';
import type { Change } from './model-log.ts';
import { covers } from './model-log.ts';
import type { SeenEvent, SeenResponse } from './responses.ts';
import type { Ask, Client } from './world.ts';
import { createRequest, World } from './world.ts';

const REPLAYS_MAX = 2;
const STREAMS = 3;
const STEP_BYTES = 150;
const BUFFER_BYTES = 400;
/** Far more than the events of a run need. */
const DRAIN_TURNS_MAX = 5000;
const KEYS = ['\0', 'a', 'a/1', 'a/2', 'a/2/x', 'b', 'b/\xff', 'c'];
const RANGES: [string, string][] = [
  ['a', ''],
  ['a/2', ''],
  ['', ''],
  ['a/', 'a0'],
  ['a', 'b'],
  ['b', '\0'],
  ['\0', '\0'],
  ['', 'b'],
];

interface Watched {
  ask: Ask;
  /** The first revision whose events it must see. */
  start: number;
  received: SeenEvent[];
  /** Received events of a response whose last fragment has not come. */
  fragments: SeenEvent[];
  state: 'live' | 'canceled' | 'compacted';
}

/** One stream and what its watchers must have seen. */
class Peer {
  readonly client: Client;
  readonly watched = new Map<number, Watched>();
  readonly finished: Watched[] = [];
  readonly #world: World;
  #asked: Ask | undefined;

  constructor(world: World) {
    this.#world = world;
    this.client = world.open();
    this.client.sink.onWrite = (response, pendingBefore) => this.#take(response, pendingBefore);
  }

  create(ask: Ask): void {
    this.#asked = ask;
    this.client.stream.request(createRequest(ask));
    this.#asked = undefined;
  }

  /** What a perfect watcher has seen of everything up to `revision`. */
  expected({ ask, start }: Watched, revision: number): WatchEvent[] {
    const { key, rangeEnd } = createRequest(ask).create;
    const bound = key.length === 0 ? Uint8Array.of(0) : key;
    return this.#world.log.events.filter(
      (event) =>
        event.revision >= start &&
        event.revision <= revision &&
        covers(bound, rangeEnd, event.key) &&
        !ask.filters?.includes(event.isDelete ? 1 : 0),
    );
  }

  #take(response: SeenResponse, pendingBefore: number): void {
    if (response.created) this.#created(response);
    else if (response.watchId === -1)
      for (const watched of this.watched.values()) this.#progress(watched, response);
    else if (response.canceled) this.#canceled(response);
    else this.#events(response, pendingBefore);
  }

  #created(response: SeenResponse): void {
    assert.ok(this.#asked, 'a created response answers a create request');
    assert.equal(response.canceled, false, response.cancelReason);
    const start = this.#asked.startRevision || response.revision + 1;
    assert.ok(!this.watched.has(response.watchId), 'a watch id is used once at a time');
    this.watched.set(response.watchId, {
      ask: this.#asked,
      start,
      received: [],
      fragments: [],
      state: 'live',
    });
  }

  #canceled(response: SeenResponse): void {
    const watched = this.watched.get(response.watchId);
    if (watched === undefined) return;
    this.watched.delete(response.watchId);
    this.finished.push(watched);
    watched.state = response.compactRevision > 0 ? 'compacted' : 'canceled';
    if (watched.state === 'canceled') return;
    assert.equal(response.compactRevision <= this.#world.log.compactRevision, true);
    assert.ok(watched.start < response.compactRevision, 'a compaction cancels only what is before it');
  }

  #events(response: SeenResponse, pendingBefore: number): void {
    const watched = this.watched.get(response.watchId);
    assert.ok(watched, 'only a created and not canceled watch gets responses');
    if (response.events.length === 0) {
      this.#progress(watched, response);
      return;
    }
    const first = watched.fragments.length === 0;
    assert.ok(!first || pendingBefore <= BUFFER_BYTES, 'a full stream gets no events');
    assert.ok(!response.fragment || watched.ask.fragment, 'only a fragmented watch gets fragments');
    watched.fragments.push(...response.events);
    if (response.fragment) return;
    this.#whole(watched, watched.fragments.splice(0), response.revision);
  }

  #whole(watched: Watched, events: SeenEvent[], revision: number): void {
    const previous = watched.received.at(-1)?.revision ?? 0;
    assert.ok(events[0]!.revision > previous, `revision ${previous} was split across responses`);
    assert.ok(revision >= events.at(-1)!.revision, 'the header is not behind its events');
    watched.received.push(...events);
    this.#progress(watched, { revision });
  }

  /** A header's revision promises that everything up to it was delivered before. */
  #progress(watched: Watched, { revision }: { revision: number }): void {
    assert.equal(watched.fragments.length, 0, 'nothing comes between fragments');
    assert.equal(
      watched.received.length,
      this.expected(watched, revision).length,
      'the header is ahead of events',
    );
  }
}

const describe = (revision: number, key: string, isDelete: boolean, prevKv: boolean): string =>
  `${revision} ${JSON.stringify(key)} ${isDelete ? 'delete' : 'put'}${prevKv ? ' prev' : ''}`;

function assertSeen(peer: Peer, watched: Watched, world: World): void {
  const wanted = peer.expected(watched, world.log.revision).map((event) => {
    const prevKv = watched.ask.prevKv === true && event.plainLength < event.bytes.length;
    return describe(event.revision, Buffer.from(event.key).toString('latin1'), event.isDelete, prevKv);
  });
  const seen = watched.received.map((event) =>
    describe(event.revision, event.key, event.isDelete, event.hasPrevKv),
  );
  if (watched.state === 'live') assert.deepEqual(seen, wanted);
  else assert.deepEqual(seen, wanted.slice(0, seen.length), 'a canceled watch saw a prefix');
}

const small = fc.nat({ max: 1000 });
const change: fc.Arbitrary<Change> = fc.record({
  key: fc.constantFrom(...KEYS),
  value: fc.option(fc.constantFrom('v', 'long value '.repeat(12)), { nil: undefined, freq: 4 }),
});
const revisionChanges = fc.uniqueArray(change, { minLength: 1, maxLength: 3, selector: (each) => each.key });
const create = fc.record({
  range: fc.constantFrom(...RANGES),
  start: small,
  filters: fc.subarray([0, 1]),
  prevKv: fc.boolean(),
  fragment: fc.boolean(),
  progressNotify: fc.boolean(),
});
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ publish: fc.array(revisionChanges, { minLength: 1, maxLength: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ apply: small }) },
  { weight: 4, arbitrary: fc.record({ create, stream: small }) },
  { weight: 1, arbitrary: fc.record({ cancel: small, stream: small }) },
  { weight: 2, arbitrary: fc.record({ progress: fc.constant(true), stream: small }) },
  { weight: 5, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 6 }), stream: small }) },
  { weight: 5, arbitrary: fc.record({ answer: small, ahead: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ failReplay: fc.constant(true) }) },
  { weight: 1, arbitrary: fc.record({ compact: small, tell: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ advance: fc.constantFrom(1, 200, 1100) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Runs steps against a hub and a model. */
class Run {
  readonly world = new World({
    replaysMax: REPLAYS_MAX,
    stepBytes: STEP_BYTES,
    streamBufferBytesMax: BUFFER_BYTES,
    ringBytesMax: 500,
    fragmentBytesMax: 120,
  });
  readonly peers = Array.from({ length: STREAMS }, () => new Peer(this.world));

  async take(step: Step): Promise<void> {
    const { world } = this;
    if ('publish' in step) world.publish(...step.publish);
    else if ('apply' in step) this.#apply(step.apply);
    else if ('create' in step) this.#create(step.stream, step.create);
    else if ('cancel' in step) this.#cancel(step.stream, step.cancel);
    else if ('progress' in step) this.#peer(step.stream).client.stream.request({ kind: 'progress' });
    else if ('read' in step) this.#read(this.#peer(step.stream), step.read);
    else if ('answer' in step) world.replays.answer(step.answer % REPLAYS_MAX, step.ahead);
    else if ('failReplay' in step) world.replays.fail();
    else if ('compact' in step) this.#compact(step.compact, step.tell);
    else world.clock.advance(step.advance);
    await world.settle();
  }

  /** Lets everybody read and every replay answer until all watchers are synced. */
  async drain(): Promise<void> {
    const { world } = this;
    world.apply();
    for (let turn = 0; turn < DRAIN_TURNS_MAX; turn++) {
      world.replays.answer();
      for (const peer of this.peers) this.#read(peer, Number.POSITIVE_INFINITY);
      world.clock.advance(100);
      await world.settle();
      const { unsynced, pendingEvents, replaying } = world.hub.counts();
      if (unsynced === 0 && pendingEvents === 0 && replaying === 0) return;
    }
    assert.fail('with everything read and answered, the watchers never became synced');
  }

  verify(): void {
    assert.ok(this.world.replays.most <= REPLAYS_MAX, 'replays under way are bounded');
    for (const peer of this.peers) {
      for (const watched of peer.watched.values()) assertSeen(peer, watched, this.world);
      for (const watched of peer.finished) assertSeen(peer, watched, this.world);
    }
    const { synced, unsynced } = this.world.hub.counts();
    assert.equal(unsynced, 0, 'with everything read, every watcher is synced');
    assert.equal(
      synced,
      this.peers.reduce((sum, peer) => sum + peer.watched.size, 0),
    );
  }

  #peer(number: number): Peer {
    return this.peers[number % this.peers.length]!;
  }

  #read(peer: Peer, count: number): void {
    peer.client.sink.read(peer.client.stream, count);
  }

  #apply(amount: number): void {
    const { log } = this.world;
    this.world.apply(log.appliedRevision + (amount % (log.revision - log.appliedRevision + 1)));
  }

  #create(
    stream: number,
    { range, start, ...options }: typeof create extends fc.Arbitrary<infer C> ? C : never,
  ): void {
    const [key, rangeEnd] = range;
    const startRevision = start % (this.world.log.revision + 4);
    this.#peer(stream).create({ key, rangeEnd, startRevision, ...options });
  }

  #cancel(stream: number, which: number): void {
    const peer = this.#peer(stream);
    const watchId = [...peer.watched.keys()][which % Math.max(1, peer.watched.size)];
    if (watchId !== undefined) peer.client.stream.request({ kind: 'cancel', watchId });
  }

  #compact(amount: number, tell: boolean): void {
    const { log, hub } = this.world;
    log.compactRevision = Math.max(log.compactRevision, amount % (log.appliedRevision + 1));
    if (tell) hub.compactedTo(log.compactRevision);
  }
}

test('however slow, late or often moved, every watcher sees every event of its range once, in order, no revision split', async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 20, maxLength: 150, size: 'max' }),
    async (steps) => {
      const run = new Run();
      for (const step of steps) await run.take(step);
      await run.drain();
      run.verify();
    },
  );
  await fc.assert(property, { numRuns: 400 });
});
