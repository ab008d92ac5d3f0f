import type { CampaignReport } from './campaign.ts';

/** The counts of a campaign as lines: per mutation what became of its inputs, and per check what it refused. */
export function reportLines({ counts, milliseconds, residentMiBMax }: CampaignReport): string[] {
  const perSecond = Math.round(counts.inputs / (milliseconds / 1_000));
  return [
    ...mutationLines(counts.verdicts),
    '',
    ...checkLines(counts.checks),
    '',
    `${counts.inputs} inputs in ${(milliseconds / 1_000).toFixed(1)} s: ${perSecond}/s; ${counts.inspected} of them by inspect, too`,
    `slowest: input ${counts.slowest}, ${Math.round(counts.slowestMs)} ms; at most ${residentMiBMax} MiB`,
  ];
}

const VERDICTS = ['refused', 'same', 'other'] as const;

function mutationLines(verdicts: Readonly<Record<string, number>>): string[] {
  const names = [...new Set(Object.keys(verdicts).map((name) => name.split('\t')[0]!))].sort();
  const rows = names.map((name) =>
    row(
      name,
      VERDICTS.map((verdict) => verdicts[`${name}\t${verdict}`] ?? 0),
    ),
  );
  const sums = VERDICTS.map((verdict) =>
    names.reduce((sum, name) => sum + (verdicts[`${name}\t${verdict}`] ?? 0), 0),
  );
  return [row('mutation', [...VERDICTS]), ...rows, row('all', sums)];
}

function checkLines(checks: Readonly<Record<string, number>>): string[] {
  const rows = Object.entries(checks).sort(([, left], [, right]) => right - left);
  return [row('refused by', ['']), ...rows.map(([name, count]) => row(name, [count]))];
}

function row(name: string, cells: readonly (string | number)[]): string {
  return name.padEnd(52) + cells.map((cell) => String(cell).padStart(10)).join('');
}
