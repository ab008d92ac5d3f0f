import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '../../bench/store/backend.ts';
import { defaultDelay } from '../../bench/store/delay.ts';
import { memoryBackend } from '../../bench/store/memory-backend.ts';
import { type SlowStore, startSlowStore } from '../../bench/store/slow-store.ts';
import { WRITE_STAGES } from '../../src/main/commit/write-time.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';

const SLOW_MS = 600;
const HEDGE_AFTER_MS = 250;

interface SlowLine {
  readonly msg: string;
  readonly level: string;
  readonly sequence: number;
  readonly latencyMs: number;
  readonly turnAfter?: number;
  readonly requests: readonly {
    readonly request: string;
    readonly sentMs: number;
    readonly outcome: string;
    readonly decided?: true;
  }[];
  readonly [stage: `${string}Ms`]: number;
}

function slowLines(netsy: Netsy): SlowLine[] {
  const lines = netsy
    .log()
    .split('\n')
    .filter((line) => line.includes('"slow write'));
  return lines.map((line) => JSON.parse(line) as SlowLine);
}

async function put(client: EtcdClient, key: string): Promise<number> {
  const begunMs = performance.now();
  await client.call(KV.method.put, { key: Buffer.from(key), value: Buffer.from('value') });
  return performance.now() - begunMs;
}

function assertAddsUp(line: SlowLine): void {
  const sum = WRITE_STAGES.reduce((total, stage) => total + line[`${stage}Ms`]!, 0);
  assert.ok(Math.abs(sum - line.latencyMs) < 0.1, JSON.stringify(line));
}

describe('a server says where the time of a slow write went', { timeout: 120_000 }, () => {
  /** How long the store holds the next PUTs of chunks, in the order in which they arrive. */
  let holds: number[] = [];
  let store: SlowStore;
  let netsy: Netsy;
  let client: EtcdClient;

  before(async () => {
    const memory = memoryBackend(['bench']);
    const backend: Backend = {
      ...memory,
      async handle(request) {
        if (request.method === 'PUT' && request.url!.includes('/chunks/')) await sleep(holds.shift() ?? 0);
        return memory.handle(request);
      },
    };
    const none = { ...defaultDelay, medianMs: 0 };
    const settings = {
      backend,
      put: none,
      read: none,
      putEffect: 'end',
      seed: 1,
      port: 0,
      adminPort: 0,
    } as const;
    store = await startSlowStore(settings);
    netsy = await startNetsy({
      arguments: [
        ...['--store', 's3://bench/prefix', '--slow-write-log', '200ms', '--log-level', 'debug'],
        ...['--hedge-after', `${HEDGE_AFTER_MS}ms`],
      ],
      environment: {
        AWS_ENDPOINT_URL: `http://127.0.0.1:${store.port}`,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'bench',
        AWS_SECRET_ACCESS_KEY: 'bench-secret',
      },
    });
    client = new EtcdClient(netsy.authority);
  });

  after(async () => {
    client?.close();
    await netsy?.stop();
    await store?.stop();
  });

  it('a slow PUT is time of the PUT, with the hedge that decided it', async () => {
    holds = [SLOW_MS, 0];
    const tookMs = await put(client, 'slow');
    // On a busy machine the server's own first writes may be slow too.
    const line = slowLines(netsy).findLast(({ level }) => level === 'debug');
    assert.equal(line?.msg, 'slow writes');
    assertAddsUp(line!);
    assert.ok(line!.latencyMs <= tookMs && line!['putMs']! >= HEDGE_AFTER_MS - 1, JSON.stringify(line));
    assert.ok(line!['putMs']! > 0.5 * line!.latencyMs, 'it is most of it');
    assert.deepEqual(
      line!.requests.map(({ request, outcome, decided }) => [request, outcome, decided]),
      [
        ['put', 'pending', undefined],
        ['hedge', 'created', true],
      ],
    );
    assert.ok(line!.requests[1]!.sentMs >= HEDGE_AFTER_MS - 1);
    // The slower PUT of the pair is over before the next test's.
    await sleep(SLOW_MS);
  });

  it('a write behind a slow one waits for its turn, and the line names which it waited for', async () => {
    // The first write’s PUT, the second’s, and the first’s hedge.
    holds = [SLOW_MS, 0, SLOW_MS];
    const first = put(client, 'first');
    await sleep(150);
    const second = put(client, 'second');
    await Promise.all([first, second]);
    const lines = slowLines(netsy)
      .filter(({ level }) => level === 'debug')
      .slice(-2);
    const [before, behind] = lines.sort((a, b) => a.sequence - b.sequence);
    for (const line of lines) assertAddsUp(line);
    assert.equal(behind!.turnAfter, before!.sequence);
    assert.ok(behind!['turnMs']! > 0.5 * behind!.latencyMs, JSON.stringify(behind));
    assert.equal(before!.turnAfter, undefined);
    assert.equal(slowLines(netsy).filter(({ level }) => level === 'info').length, 1, 'one line a minute');
  });

  it('metrics count every slow write, and have what holds each thread up', async () => {
    const text = await (await fetch(`${netsy.endpoint}/metrics`)).text();
    const value = (name: string): number => {
      const line = text.split('\n').find((one) => one.startsWith(`${name} `));
      assert.ok(line !== undefined, name);
      return Number(line.slice(name.length));
    };
    assert.ok(value('netsy_slow_writes_total') >= 3);
    assert.equal(value('netsy_slow_write_threshold_seconds'), 0.2);
    assert.ok(value('netsy_slow_write_seconds_total{stage="put"}') >= (2 * HEDGE_AFTER_MS - 2) / 1000);
    for (const thread of ['main', 'writer', 'reader']) {
      assert.ok(value(`netsy_event_loop_delay_seconds_count{thread="${thread}"}`) > 5, thread);
      assert.ok(text.includes(`netsy_gc_pause_seconds_count{thread="${thread}",kind="minor"}`), thread);
    }
    assert.doesNotMatch(
      text,
      /nodejs_(gc_duration|eventloop_lag)/,
      'they are not right, and not there twice',
    );
  });

  it('what was kept for the next line is told when the process ends', async () => {
    await netsy.stop();
    const told = slowLines(netsy).filter(({ level }) => level === 'info');
    assert.equal(told.length, 2);
    assertAddsUp(told[1]!);
  });
});

it('with the defaults, nothing is said of writes that are not slow', { timeout: 60_000 }, async () => {
  const netsy = await startNetsy();
  const client = new EtcdClient(netsy.authority);
  try {
    for (let count = 0; count < 20; count++) await put(client, `key ${count}`);
    const slow = slowLines(netsy);
    assert.ok(
      slow.every(({ latencyMs }) => latencyMs >= 100),
      JSON.stringify(slow),
    );
  } finally {
    client.close();
    await netsy.stop();
  }
});
