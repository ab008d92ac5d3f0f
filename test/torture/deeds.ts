import assert from 'node:assert/strict';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { Seeded } from '../support/seeded.ts';
import type { Fleet, Slot } from './fleet.ts';
import { FAIR, type Outage, type Weather } from './s3-proxy.ts';

/** What is done to the processes and their store in a round, under load. */

export interface Scene {
  readonly random: Seeded;
  readonly fleet: Fleet;
  readonly leaseTtlMs: number;
  /** Waits for so many more acknowledged writes. */
  untilAcknowledged(count: number): Promise<void>;
  /** Starts what does not run, and lets the load know of it. */
  restart(): Promise<void>;
  /** Lets the load know who runs. */
  changed(): void;
}

export type Deed = (scene: Scene) => Promise<void>;

const OUTAGE_MS_MAX = 2_000;
/** What is asked of a process while it is stopped waits for it so long. */
const GHOST_MS = 30_000;
const GHOSTS = 6;
const SLEPT_THROUGH = 20;
const FENCED_WITHIN_MS = 40_000;
/** Keys with this prefix are written to a process that is not the primary any more: none may ever be there. */
export const GHOST_PREFIX = 'ghost/';

const killPrimary: Deed = async ({ fleet, random, changed, restart }) => {
  const primary = await fleet.primary();
  await primary.kill();
  changed();
  const wipes = random.integer(0, 4);
  if (wipes === 0) primary.wipe('cache');
  if (wipes === 1) primary.wipe('data directory');
  // It comes back at once, or only when another one has taken over.
  if (fleet.running.length === 0 || random.integer(0, 2) === 0) await restart();
};

const killStandby: Deed = async ({ fleet, random, changed, restart }) => {
  const primary = await fleet.primary();
  for (const slot of fleet.running) {
    if (slot === primary) continue;
    await slot.kill();
    changed();
    if (random.integer(0, 2) === 0) slot.wipe(random.pick(['cache', 'data directory']));
  }
  await restart();
};

const killAll: Deed = async ({ fleet, random, changed, restart }) => {
  const slots = [...fleet.running];
  await Promise.all(slots.map((slot) => slot.kill()));
  changed();
  for (const slot of slots)
    if (random.integer(0, 3) === 0) slot.wipe(random.pick(['cache', 'data directory']));
  await restart();
};

const handover: Deed = async ({ fleet, changed, restart }) => {
  const primary = await fleet.primary();
  const { netsy } = primary.running!;
  primary.running!.expectedToEnd = true;
  const how = await netsy.stop();
  changed();
  // A store that fails may cost the grace; a process that hangs would end by a signal, too.
  assert.ok(how === 'exit code 0' || how === 'signal SIGKILL', `SIGTERM: ${how}`);
  if (fleet.running.length === 0) await restart();
};

/** Sleeps for longer than the lease, is taken over, and goes on. It must acknowledge nothing and end. */
const sleepPrimary: Deed = async ({ fleet, random, leaseTtlMs, untilAcknowledged }) => {
  const primary = await fleet.primary();
  const { netsy, client } = primary.running!;
  process.kill(netsy.pid, 'SIGSTOP');
  try {
    if (fleet.running.length === 1) {
      await systemClock.sleep(leaseTtlMs * (1 + random.fraction()));
      return;
    }
    // They wait in its sockets, the first thing that it sees when it goes on.
    await systemClock.sleep(50);
    const ask = (name: string): Promise<unknown>[] =>
      Array.from({ length: GHOSTS }, (_, index) => {
        const key = Buffer.from(`${GHOST_PREFIX}${name}/${index}`);
        return index % 2 === 0
          ? client.call(KV.method.put, { key, value: key }, GHOST_MS)
          : client.call(KV.method.range, { key }, GHOST_MS);
      });
    const before = Promise.allSettled(ask('before'));
    await fleet.primary(primary);
    await untilAcknowledged(10);
    process.kill(netsy.pid, 'SIGCONT');
    for (const answers of [await Promise.allSettled(ask('after')), await before]) {
      for (const { status } of answers)
        assert.equal(status, 'rejected', 'a primary that slept longer than its lease answered');
    }
    const slow = new AbortController();
    const how = await Promise.race([netsy.exited, systemClock.sleep(FENCED_WITHIN_MS, slow.signal)]);
    slow.abort();
    assert.equal(how, 'exit code 1', 'a primary that was taken over ends');
  } finally {
    if (primary.isRunning) process.kill(netsy.pid, 'SIGCONT');
  }
};

const sleepStandby: Deed = async ({ fleet, random, leaseTtlMs }) => {
  const primary = await fleet.primary();
  const sleeping = fleet.running.filter((slot) => slot !== primary);
  for (const { running } of sleeping) process.kill(running!.netsy.pid, 'SIGSTOP');
  await systemClock.sleep(leaseTtlMs * (1 + random.fraction()));
  for (const slot of sleeping) if (slot.isRunning) process.kill(slot.running!.netsy.pid, 'SIGCONT');
};

/** The lease is free the moment they wake up, and they have not followed the log for as long as they slept. */
const handoverToSleepers: Deed = async (scene) => {
  const { fleet, random, leaseTtlMs, untilAcknowledged } = scene;
  const primary = await fleet.primary();
  const sleeping = fleet.running.filter((slot) => slot !== primary);
  for (const { running } of sleeping) process.kill(running!.netsy.pid, 'SIGSTOP');
  try {
    await systemClock.sleep(random.fraction() * leaseTtlMs);
    await untilAcknowledged(SLEPT_THROUGH);
    await handover(scene);
  } finally {
    for (const slot of sleeping) if (slot.isRunning) process.kill(slot.running!.netsy.pid, 'SIGCONT');
  }
};

/** The store is away for everybody, or for the primary alone. */
const outageOf =
  (outage: Outage, whose: 'everybody' | 'the primary'): Deed =>
  async ({ fleet, random, leaseTtlMs }) => {
    const primary = await fleet.primary();
    const slots: readonly Slot[] = whose === 'everybody' ? fleet.slots : [primary];
    for (const { proxy } of slots) proxy!.outage = outage;
    const least = random.integer(0, 2) === 0 ? 200 : leaseTtlMs;
    await systemClock.sleep(least + random.fraction() * OUTAGE_MS_MAX);
    for (const { proxy } of slots) proxy!.outage = undefined;
  };

const nothing: Deed = async () => {};

const OF_PROCESSES: Readonly<Record<string, Deed>> = {
  'kill -9 of the primary': killPrimary,
  'kill -9 of the standbys': killStandby,
  'kill -9 of all': killAll,
  'SIGSTOP of the primary': sleepPrimary,
  'SIGSTOP of the standbys': sleepStandby,
  'SIGTERM handover': handover,
  'SIGTERM handover to standbys that sleep': handoverToSleepers,
  nothing,
};

const OF_STORES: Readonly<Record<string, Deed>> = {
  'the store refuses': outageOf('refuses', 'everybody'),
  'the store hangs': outageOf('hangs', 'everybody'),
  'the store answers 503': outageOf('503', 'everybody'),
  'the store hangs for the primary': outageOf('hangs', 'the primary'),
  'the store refuses the primary': outageOf('refuses', 'the primary'),
};

const WEATHERS: Readonly<Record<string, Weather>> = {
  fair: FAIR,
  slow: { ...FAIR, delayMsMax: 300 },
  'lost answers': { ...FAIR, delayMsMax: 60, loseAnswer: 0.2, halfAnswer: 0.05 },
  'connections cut': { ...FAIR, delayMsMax: 60, cutBefore: 0.2 },
  '503 and 429': { ...FAIR, delayMsMax: 60, busy: 0.35 },
  'late PUTs': { ...FAIR, delayMsMax: 60, latePut: 0.1, lateMs: [700, 3_500] },
  'everything at once': {
    delayMsMax: 150,
    cutBefore: 0.06,
    busy: 0.06,
    loseAnswer: 0.06,
    halfAnswer: 0.04,
    latePut: 0.05,
    lateMs: [700, 4_000],
  },
};

/** What a round does, decided by its seed. */
export interface Plan {
  readonly weather: string;
  readonly deeds: readonly string[];
}

/** A store that is no server has no weather, and is never away. */
export function planOf(random: Seeded, isServer: boolean): Plan {
  const weather = isServer ? random.pick(Object.keys(WEATHERS)) : 'fair';
  const processes = Object.keys(OF_PROCESSES);
  const deeds = [random.pick(processes)];
  if (isServer && random.integer(0, 3) === 0) deeds.push(random.pick(Object.keys(OF_STORES)));
  else if (random.integer(0, 4) === 0) deeds.push(random.pick(processes));
  if (random.integer(0, 2) === 0) deeds.reverse();
  return { weather, deeds };
}

export function weatherOf({ weather }: Plan): Weather {
  return WEATHERS[weather]!;
}

export function deedsOf({ deeds }: Plan): Deed[] {
  return deeds.map((name) => OF_PROCESSES[name] ?? OF_STORES[name]!);
}
