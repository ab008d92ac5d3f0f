import {
  newPauses,
  PAUSE_BOUNDS_SECONDS,
  PAUSE_KINDS,
  type PauseKind,
  readPauses,
} from '../../shared/base/pauses.ts';
import { Distribution, type Labels, type SeriesMaker, samplesOf } from './series.ts';

const DELAY = 'netsy_event_loop_delay_seconds';
const COLLECTION = 'netsy_gc_pause_seconds';
const GC_KINDS = PAUSE_KINDS.filter((kind) => kind !== 'eventLoop');
/** Shown from the start, so that their rate is known; the other collections are rare. */
const USUAL: readonly PauseKind[] = ['eventLoop', 'minor', 'major'];

/** The pauses of all threads as metrics. Threads of one name are added up. */
export class ThreadPauses {
  readonly #threads = new Map<string, SharedArrayBuffer[]>();

  constructor(make: SeriesMaker) {
    make.read(
      'histogram',
      DELAY,
      'How late a thread begins what is due at any moment, looked at 20 times a second.',
      () => this.#samples(DELAY, ['eventLoop'], (thread) => ({ thread })),
    );
    make.read('histogram', COLLECTION, 'Time that a thread stood still for a garbage collection.', () =>
      this.#samples(COLLECTION, GC_KINDS, (thread, kind) => ({ thread, kind })),
    );
  }

  /** A new record for a thread that is about to begin. What it counts stays when it has ended. */
  add(thread: string): SharedArrayBuffer {
    const shared = newPauses();
    this.#threads.set(thread, [...(this.#threads.get(thread) ?? []), shared]);
    return shared;
  }

  #samples(
    name: string,
    kinds: readonly PauseKind[],
    labels: (thread: string, kind: PauseKind) => Labels,
  ): ReturnType<typeof samplesOf> {
    return [...this.#threads].flatMap(([thread, records]) =>
      kinds.flatMap((kind) => {
        const all = distributionOf(records, kind);
        return all.sum > 0 || USUAL.includes(kind) ? samplesOf(name, labels(thread, kind), all) : [];
      }),
    );
  }
}

function distributionOf(records: readonly SharedArrayBuffer[], kind: PauseKind): Distribution {
  const all = new Distribution(PAUSE_BOUNDS_SECONDS);
  for (const shared of records) {
    const { counts, sumSeconds } = readPauses(shared, kind);
    counts.forEach((count, bucket) => {
      all.counts[bucket] = all.counts[bucket]! + count;
    });
    all.sum += sumSeconds;
  }
  return all;
}
