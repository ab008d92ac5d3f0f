import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Done } from '../../bench/grpc/connection.ts';
import { CallError } from '../../bench/grpc/connection.ts';
import { Generator, type Pace, type PhaseOutcome } from '../../bench/load/generator.ts';
import type { Workload } from '../../bench/load/workload.ts';
import { ManualClock } from '../support/clock.ts';

const nothing = new Uint8Array(0);
const anything: Workload = {
  next: () => ({ method: '/m', message: nothing, settle: (error) => error?.message }),
};

/** Answers `serviceMs` after the call, but nothing between `stallFrom` and `stallTo`. */
function server(clock: ManualClock, serviceMs: number, stallFrom = 0, stallTo = 0) {
  return {
    unary(_method: string, _message: Uint8Array, done: Done) {
      const readyMs = clock.monotonicMs() + serviceMs;
      const answerMs = readyMs >= stallFrom && readyMs < stallTo ? stallTo : readyMs;
      clock.after(answerMs - clock.monotonicMs(), () => done(undefined, nothing));
    },
  };
}

async function drive(
  clock: ManualClock,
  target: { unary(method: string, message: Uint8Array, done: Done): void },
  pace: Pace,
  workload = anything,
): Promise<PhaseOutcome> {
  const settings = { pace, warmupMs: 1000, measureMs: 10_000, drainMs: 5000 };
  const running = new Generator(clock, [target], workload, settings).run();
  for (let step = 0; step < 20; step++) {
    clock.advance(1000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return await running;
}

test('open loop: a server that stalls makes every request late that was due meanwhile', async () => {
  const clock = new ManualClock();
  // Of the 10 s that are measured nothing is answered for 2 s: 1 in 5 requests is held up.
  const outcome = await drive(clock, server(clock, 5, 4000, 6000), { rate: 100 });
  const { count, p50Ms, p90Ms, maxMs } = outcome.latencies.summary();
  assert.equal(count, 1000);
  assert.ok(Math.abs(p50Ms - 5) < 0.1, `p50 ${p50Ms}`);
  // The held-up latencies are spread evenly from 0 to 2 s, so that p90 is the middle of them.
  assert.ok(Math.abs(p90Ms - 1000) < 30, `p90 ${p90Ms}`);
  assert.ok(Math.abs(maxMs - 2000) < 15, `max ${maxMs}`);
  assert.equal(outcome.errors.size, 0);
});

test('open loop: a request that the generator itself sends late counts from when it was due', async () => {
  const clock = new ManualClock();
  let busy = false;
  // No key is free for 500 ms: the requests that were due then are sent after it.
  const workload: Workload = { next: () => (busy ? undefined : anything.next()) };
  clock.after(3000, () => {
    busy = true;
  });
  clock.after(3500, () => {
    busy = false;
  });
  const outcome = await drive(clock, server(clock, 5), { rate: 100 }, workload);
  assert.equal(outcome.latencies.summary().count, 1000);
  assert.ok(outcome.latencies.summary().maxMs >= 490);
  assert.ok(outcome.lateness.summary().maxMs >= 490);
});

test('closed loop: keeps as many in flight as asked, and counts only the measured window', async () => {
  const clock = new ManualClock();
  let inFlight = 0;
  let most = 0;
  const target = server(clock, 50);
  const counted = {
    unary(method: string, message: Uint8Array, done: Done) {
      most = Math.max(most, ++inFlight);
      target.unary(method, message, (error, answer) => {
        inFlight--;
        done(error, answer);
      });
    },
  };
  const outcome = await drive(clock, counted, { inFlight: 7 });
  assert.equal(most, 7);
  // Seven at a time, every 50 ms, for 10 s.
  assert.equal(outcome.completedInWindow, (7 * 10_000) / 50);
  assert.equal(outcome.latencies.summary().count, outcome.completedInWindow);
  assert.ok(Math.abs(outcome.latencies.summary().maxMs - 50) < 0.1);
});

test('an answer that never comes is an error, and as slow as the time it had', async () => {
  const clock = new ManualClock();
  const silent = { unary() {} };
  const outcome = await drive(clock, silent, { rate: 10 });
  assert.deepEqual([...outcome.errors], [['no answer', 110]]);
  assert.equal(outcome.latencies.summary().count, 100);
  assert.ok(outcome.latencies.summary().maxMs >= 14_000);
  assert.equal(outcome.completedInWindow, 0);
});

test('a server that refuses at once is counted as errors and is not asked without pause', async () => {
  const clock = new ManualClock();
  const refusing = {
    unary(_method: string, _message: Uint8Array, done: Done) {
      done(new CallError(8, 'too many requests'), nothing);
    },
  };
  const outcome = await drive(clock, refusing, { inFlight: 1 });
  // 11 s of one request per pause of 10 ms.
  assert.deepEqual([...outcome.errors], [['too many requests', 1100]]);
  assert.equal(outcome.completedInWindow, 0);
});
