import type { ThreadPauses } from '../measure/pauses.ts';
import type { PhaseResult } from '../scenarios/phase.ts';
import { groupBy, median } from './statistics.ts';
import { aligned, cell, phaseName } from './text.ts';

/** What the report says of each of netsy's threads. */
const FIGURES: readonly (readonly [title: string, value: (pauses: ThreadPauses) => number | undefined])[] = [
  ['loop delay ms', ({ delayMeanMs }) => delayMeanMs],
  ['p99 ≤', ({ delayP99Ms }) => delayP99Ms],
  ['GC ms/s', ({ gcMsPerSecond }) => gcMsPerSecond],
  ['GCs/s', ({ gcPerSecond }) => gcPerSecond],
];
const THREADS = ['main', 'writer', 'reader'];

export const PAUSE_TITLES = THREADS.flatMap((thread) =>
  FIGURES.map(([title], index) => (index === 0 ? `${thread}: ${title}` : title)),
);

export interface PauseRow {
  readonly name: string;
  /** As `PAUSE_TITLES`; medians of the rounds. */
  readonly figures: readonly (number | undefined)[];
}

/** One row per server and phase whose server told of its threads. */
export function pauseRows(results: readonly PhaseResult[]): PauseRow[] {
  const telling = results.filter(({ pauses }) => pauses !== undefined);
  return [...groupBy(telling, (result) => `${result.server}: ${phaseName(result)}`)].map(([name, group]) => {
    const figures = THREADS.flatMap((thread) =>
      FIGURES.map(([, value]) => {
        const ofThread = group.flatMap(({ pauses }) => pauses!.filter((one) => one.thread === thread));
        return median(ofThread.map(value).filter((one) => one !== undefined));
      }),
    );
    return { name, figures };
  });
}

/** What held netsy's threads up; empty when no server told. */
export function pauseTable(results: readonly PhaseResult[]): string {
  const rows = pauseRows(results).map(({ name, figures }) => [
    name,
    ...figures.map((figure) => cell(figure, 2)),
  ]);
  return rows.length === 0 ? '' : aligned([['what held threads up', ...PAUSE_TITLES], ...rows]);
}
