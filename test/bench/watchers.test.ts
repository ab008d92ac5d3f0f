import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { CallError } from '../../bench/grpc/connection.ts';
import { KeySpace, type KnownKey } from '../../bench/load/key-space.ts';
import { Watchers, type WatchReport } from '../../bench/load/watchers.ts';
import { Latencies, type LatencySummary } from '../../bench/measure/latency.ts';
import { WatchResponseSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { ManualClock } from '../support/clock.ts';

/** Streams of a server that creates every watcher and sends what the test says. */
class WatchedServer {
  private readonly streams: {
    onMessage: (message: Uint8Array) => void;
    onEnd: (error: CallError) => void;
  }[] = [];
  private nextId = 0n;

  stream(_method: string, onMessage: (message: Uint8Array) => void, onEnd: (error: CallError) => void) {
    this.streams.push({ onMessage, onEnd });
    const send = (): void => {
      const watchId = this.nextId++;
      onMessage(toBinary(WatchResponseSchema, create(WatchResponseSchema, { watchId, created: true })));
    };
    return { send: () => queueMicrotask(send) };
  }

  event(watchId: number, ...revisions: readonly number[]): void {
    const events = revisions.map((revision) => ({ kv: { modRevision: BigInt(revision) } }));
    const answer = create(WatchResponseSchema, { watchId: BigInt(watchId), events });
    this.streams[0]!.onMessage(toBinary(WatchResponseSchema, answer));
  }

  end(): void {
    this.streams[0]!.onEnd(new CallError(14, 'gone'));
  }
}

interface Scene {
  readonly clock: ManualClock;
  readonly server: WatchedServer;
  readonly watchers: Watchers;
  /** Acknowledges a write of a key of `group` at `revision`. */
  acknowledge(group: number, revision: number): void;
}

/** Two groups with two watchers each; watchers 0 and 2 are of group 0. */
async function scene(): Promise<Scene> {
  const clock = new ManualClock();
  const server = new WatchedServer();
  const space = new KeySpace({ prefix: 'w/', seed: 1, valueBytes: 64, groups: 2, unchecked: false });
  const keys: KnownKey[] = [space.add(), space.add()];
  const watchers = await Watchers.create(clock, [server], space, 2, 4);
  watchers.record(true);
  const acknowledge = (group: number, revision: number): void =>
    space.onAcknowledged({ ...keys[group]!, modRevision: revision });
  return { clock, server, watchers, acknowledge };
}

const delayOf = (report: WatchReport): LatencySummary => Latencies.decode(report.delays).summary();

test('the delay is from the acknowledgement to each watcher, and nothing for an event that was faster', async () => {
  const { clock, server, watchers, acknowledge } = await scene();
  server.event(0, 5);
  clock.advance(3);
  acknowledge(0, 5);
  clock.advance(40);
  server.event(2, 5);
  const report = watchers.report();
  assert.deepEqual([report.events, report.eventsBeforeAcknowledgement, report.problems], [2, 1, {}]);
  const { count, maxMs } = delayOf(report);
  assert.equal(count, 2);
  assert.ok(Math.abs(maxMs - 40) < 0.1, String(maxMs));
});

test('an event that one watcher never got is missing', async () => {
  const { server, watchers, acknowledge } = await scene();
  acknowledge(0, 5);
  server.event(0, 5);
  acknowledge(1, 6);
  server.event(1, 6);
  server.event(3, 6);
  assert.deepEqual(watchers.report().problems, { 'watch: an event did not come': 1 });
});

test('an event that comes twice, out of order, or to the wrong prefix is a problem', async () => {
  const { server, watchers, acknowledge } = await scene();
  for (const revision of [5, 6]) acknowledge(0, revision);
  server.event(0, 6, 5);
  server.event(2, 5, 6, 6);
  server.event(1, 5);
  const { problems } = watchers.report();
  assert.equal(problems['watch: an event twice or out of order'], 2);
  assert.equal(problems['watch: an event of another prefix'], 1);
  assert.equal(problems['watch: an event did not come'], 1);
});

test('writes outside the measured window are checked, and their delay does not count', async () => {
  const { clock, server, watchers, acknowledge } = await scene();
  watchers.record(false);
  acknowledge(0, 5);
  clock.advance(500);
  for (const watcher of [0, 2]) server.event(watcher, 5);
  const report = watchers.report();
  assert.deepEqual([report.events, delayOf(report).count, report.problems], [2, 0, {}]);
});

test('a stream that ends is a problem', async () => {
  const { server, watchers } = await scene();
  server.end();
  assert.deepEqual(watchers.report().problems, { 'watch: the stream ended: gone': 1 });
});
