import type { SlowWrites } from '../measure/slow-writes.ts';
import type { PhaseResult } from '../scenarios/phase.ts';
import { groupBy, median } from './statistics.ts';
import { aligned, cell, phaseName } from './text.ts';

/** The stages of `netsy_slow_write_seconds_total`, in their order, and what the report calls them. */
const STAGES = {
  gather: 'gather',
  slot: 'slot',
  writer: 'writer',
  evaluate: 'evaluate',
  seal: 'seal',
  lease: 'lease',
  put: 'PUT',
  turn: 'turn',
  reply: 'reply',
} as const;
const REQUESTS = { put: 'PUTs', hedge: 'hedges', readback: 'read back' } as const;

export const SLOW_WRITE_TITLES = [
  'slow writes',
  'mean ms',
  ...Object.values(STAGES),
  ...Object.values(REQUESTS),
];

export interface SlowWriteRow {
  readonly name: string;
  /** As `SLOW_WRITE_TITLES`; medians of the rounds. */
  readonly figures: readonly (number | undefined)[];
}

/** One row per server and phase whose server told of slow writes. */
export function slowWriteRows(results: readonly PhaseResult[]): SlowWriteRow[] {
  const telling = results.filter(({ slowWrites }) => slowWrites !== undefined);
  return [...groupBy(telling, (result) => `${result.server}: ${phaseName(result)}`)].map(([name, group]) => {
    const of = (value: (slow: SlowWrites) => number | undefined): number | undefined =>
      median(group.map(({ slowWrites }) => value(slowWrites!)).filter((one) => one !== undefined));
    const figures = [
      of(({ writes }) => writes),
      of(({ stagesMs }) => Object.values(stagesMs).reduce((sum, ms) => sum + ms, 0)),
      ...Object.keys(STAGES).map((stage) => of(({ stagesMs }) => stagesMs[stage])),
      ...Object.keys(REQUESTS).map((request) => of(({ requests }) => requests[request])),
    ];
    return { name, figures };
  });
}

/** Where the time of writes slower than p99 went: mean milliseconds per stage; empty when no server told. */
export function slowWriteTable(results: readonly PhaseResult[]): string {
  const rows = slowWriteRows(results).map(({ name, figures }) => [
    name,
    ...figures.map((figure, index) => cell(figure, index === 0 ? 0 : 2)),
  ]);
  if (rows.length === 0) return '';
  return aligned([['writes slower than p99', ...SLOW_WRITE_TITLES], ...rows]);
}
