import { parseSettings } from '../../src/main/config/command-line.ts';
import type { Settings } from '../../src/main/config/settings.ts';
import type { ClockSkew } from './life.ts';
import type { SimRandom } from './sim-random.ts';
import type { StoreFault, StoreWeather } from './store.ts';

/** What a seed decides before anything happens. */
export interface Plan {
  readonly processes: number;
  readonly clients: number;
  readonly watches: number;
  readonly settings: Settings;
  /** Active stretches, in milliseconds. */
  readonly stretchesMs: readonly number[];
  /** Between two stretches: everything is down, or stopped. */
  readonly idleMs: number;
  /** Mean time between two troubles. */
  readonly troubleEveryMs: number;
  readonly storm: StoreWeather;
  /** A primary sleeps through the idle hours, and what it would append to goes on and is deleted. */
  readonly isSleepy: boolean;
  /** Who is stopped does not know how long, as in a virtual machine that was frozen. */
  readonly freezes: boolean;
  /** Bits flip in the store itself: then a process may refuse, by the object's name. */
  readonly damages: boolean;
}

const DEFAULTS = parseSettings([], {});
const HOUR_MS = 3_600_000;
/** A holder gives up a tenth of its TTL, a taker waits a tenth longer: clocks may differ by a little less. */
const SPEED_RANGE = 0.08;

export function planOf(random: SimRandom): Plan {
  const isSleepy = random.chance(0.12);
  const idles = isSleepy || random.chance(0.3);
  const stretches = idles ? random.integer(2, 4) : 1;
  const freezes = !idles && random.chance(0.2);
  const isLong = isSleepy || freezes;
  const leaseTtlMs = random.pick([1_000, 1_000, 2_000, 3_000]);
  return {
    isSleepy,
    processes: isLong ? random.pick([2, 3]) : random.pick([1, 2, 2, 3]),
    clients: random.integer(2, 5),
    watches: random.integer(1, 4),
    settings: {
      ...settingsOf(random, leaseTtlMs, idles),
      putBudget: random.chance(0.3) ? random.pick([6, 20, 100]) : undefined,
      ...(isSleepy && { retentionMs: 0, snapshot: { records: 5, bytes: 1_000, ageMs: 10_000 } }),
    },
    stretchesMs: Array.from(
      { length: stretches },
      () => random.between(2_000, 5_000) + (isLong ? 4 : 2) * leaseTtlMs,
    ),
    idleMs: random.between(1.1, 4) * HOUR_MS,
    troubleEveryMs: random.pick([300, 700, 1_500, 3_000]),
    storm: stormOf(random),
    freezes,
    damages: random.chance(0.06),
  };
}

function settingsOf(random: SimRandom, leaseTtlMs: number, idles: boolean): Settings {
  return {
    ...DEFAULTS,
    leaseTtlMs,
    batchWindowMs: random.pick([1, 5, 20]),
    batchRequestsMax: random.pick([1, 3, 1000]),
    pipelineDepth: random.pick([1, 2, 5, 64]),
    hedgeAfter: random.pick([
      { kind: 'off' },
      { kind: 'auto' },
      { kind: 'p95' },
      { kind: 'fixed', delayMs: 30 },
    ]),
    requestTimeoutMs: random.pick([1_000, 5_000]),
    readerWorkers: random.integer(1, 3),
    watchBufferBytesMax: random.pick([500, 5_000, 1_000_000]),
    watchStreamBufferBytesMax: random.pick([300, 100_000]),
    watchProgressNotifyIntervalMs: 2_000,
    quotaBackendBytes: 0,
    autoCompaction: random.chance(0.2) ? { mode: 'periodic', periodMs: 4_000 } : undefined,
    snapshot: {
      records: random.pick([5, 20, 60, 1_000_000]),
      bytes: random.pick([3_000, 1_000_000_000]),
      ageMs: idles ? random.pick([HOUR_MS / 60, HOUR_MS]) : HOUR_MS,
    },
    retentionMs: random.pick([undefined, 0, HOUR_MS / 2, HOUR_MS, 3 * HOUR_MS]),
    mergeChunks: random.pick([0, 3, 10, 40]),
  };
}

export function skewOf(random: SimRandom): ClockSkew {
  return {
    monotonicOffsetMs: random.between(0, 1e9),
    wallOffsetMs: random.between(-HOUR_MS, HOUR_MS),
    speed: 1 + random.between(-SPEED_RANGE, SPEED_RANGE),
  };
}

const RATES: Record<StoreFault, number> = {
  'fails before the effect': 0.1,
  'loses the answer': 0.1,
  'arrives late': 0.05,
  'answers 429': 0.05,
  'answers 503': 0.1,
  'answers 412': 0.03,
  'never answers': 0.03,
  'flips a bit of the answer': 0.01,
};

/** Each storm has some of the faults. */
function stormOf(random: SimRandom): StoreWeather {
  const faults: Partial<Record<StoreFault, number>> = {};
  for (const [fault, rate] of Object.entries(RATES) as [StoreFault, number][]) {
    if (random.chance(0.5)) faults[fault] = rate * random.between(0.3, 2);
  }
  return {
    faults,
    delayMsMax: random.pick([20, 300, 3_000]),
    lateMsMax: random.pick([1_000, 10_000, 70_000]),
  };
}
