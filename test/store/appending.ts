import { type AppendAttempt, Appender, type AppenderOptions } from '../../src/main/store/append.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { ManualClock } from '../support/clock.ts';
import { type Fault, type FaultPlan, faultyStore } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { Seeded } from '../support/seeded.ts';
import { text } from './contract.ts';

export const KEY = 'chunks/0000000000000000001.netsy';
export const OURS = text('our chunk');
export const THEIRS = text('their chunk');

export interface Bench {
  readonly clock: ManualClock;
  readonly memory: MemoryStore;
  readonly appender: Appender;
  readonly attempts: AppendAttempt[];
  /** Moves time on until the promise has settled. */
  settle<T>(promise: Promise<T>): Promise<T>;
}

/** An appender on a store in memory that meets `plan`'s faults, by a clock that stands still. */
export function bench(plan: FaultPlan, options: Partial<AppenderOptions> = {}, seed = 1): Bench {
  const clock = new ManualClock();
  const memory = new MemoryStore();
  const attempts: AppendAttempt[] = [];
  const appender = new Appender(faultyStore(memory, plan, clock), {
    hedgeAfterMs: 'off',
    attemptTimeoutMs: 10_000,
    clock,
    random: new Seeded(seed),
    log: silentLog,
    onAttempt: (attempt) => attempts.push(attempt),
    ...options,
  });
  return { clock, memory, appender, attempts, settle: (promise) => settle(clock, promise) };
}

export async function settle<T>(clock: ManualClock, promise: Promise<T>, stepMs = 5): Promise<T> {
  let isSettled = false;
  const watched = promise.finally(() => {
    isSettled = true;
  });
  watched.catch(() => undefined);
  for (let step = 0; step < 100_000; step++) {
    await turn();
    if (isSettled) return watched;
    clock.advance(stepMs);
  }
  throw new Error(`the promise did not settle in 100,000 steps of ${stepMs} ms`);
}

/** Lets everything that is ready run. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The first calls meet these faults, the later ones none. */
export function scripted(...faults: Fault[]): FaultPlan {
  return (_operation, _key, call) => faults[call] ?? {};
}

/** What was asked of the store, in order of the answers. */
export function story(attempts: readonly AppendAttempt[]): string {
  return attempts.map(({ request, outcome }) => `${request} ${outcome}`).join(', ');
}
