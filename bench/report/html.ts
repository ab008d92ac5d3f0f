import type { Outcome, Trace } from '../outcome.ts';
import type { PhaseResult } from '../scenarios/phase.ts';
import { SCENARIOS } from '../scenarios/scenario.ts';
import { chartHtml, escapeHtml } from './chart.ts';
import { budgetCharts, concurrencyCharts, percentileCharts, traceCharts, windowCharts } from './curves.ts';
import { PAUSE_TITLES, pauseRows } from './pauses.ts';
import { SLOW_WRITE_TITLES, slowWriteRows } from './slow-writes.ts';
import type { Standing } from './standing.ts';
import { groupBy, median } from './statistics.ts';
import { barText, costRows, measuredText, phaseName } from './text.ts';

export interface Report {
  readonly title: string;
  /** One line each: machine, options, store. */
  readonly conditions: readonly string[];
  readonly verdict: string;
  readonly standing: readonly Standing[];
  readonly outcome: Outcome;
  /** What the command line printed beyond tables: checks, ceilings, errors. */
  readonly lines: readonly string[];
}

const STYLE = `
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;margin:0 auto;max-width:1180px;padding:24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 8px;border-bottom:1px solid #d8dee4;padding-bottom:4px}
p{margin:4px 0}.muted{color:#59636e}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:8px 0}
th,td{padding:4px 10px;border-bottom:1px solid #eaeef2;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{background:#f6f8fa}
.good{color:#116329;font-weight:600}.fair{color:#7d4e00;font-weight:600}.bad{color:#a40e26;font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(460px,1fr));gap:16px}
figure{margin:0;border:1px solid #d8dee4;border-radius:6px;padding:10px}
figcaption{font-weight:600;font-size:14px}.legend{font-size:12px;color:#59636e;min-height:18px}
.legend span{margin-right:12px;white-space:nowrap}.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:4px}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#59636e}svg .label{font-size:12px}
svg .grid{stroke:#eaeef2}svg .axis{stroke:#8c959f;fill:none}
pre{background:#f6f8fa;padding:12px;overflow-x:auto;font-size:12px}summary{cursor:pointer;margin:6px 0}
`;

/** The whole report as one HTML file that needs nothing else. */
export function reportHtml(report: Report): string {
  const { outcome } = report;
  const { results } = outcome;
  const parts = [
    section('Where it must stand', standingHtml(report.standing)),
    section(
      'Figures',
      `<p class="muted">Medians of the rounds. Latency: open loop from when a request was due, closed loop from when it was sent.</p>${figuresHtml(results)}`,
    ),
    section('Latency by percentile', charts(percentileCharts(results))),
    section('Throughput against concurrency', charts(concurrencyCharts(results))),
    section('Latency against batch window and pipeline depth', charts(windowCharts(results))),
    section('Latency against the budget of PUTs', charts(budgetCharts(results))),
    section('Where the time of slow writes went', slowWritesHtml(results)),
    section('What held threads up', pausesHtml(results)),
    section('PUTs and what they cost', costHtml(results)),
    section('autocannon and k6', toolsHtml(outcome)),
    section('CPU and memory over time', tracesHtml(outcome.traces)),
    section(
      'Checks and remarks',
      report.lines.length === 0 ? '' : `<pre>${escapeHtml(report.lines.join('\n'))}</pre>`,
    ),
  ];
  const conditions = report.conditions.map((line) => `<p class="muted">${escapeHtml(line)}</p>`).join('');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(report.title)}</title><style>${STYLE}</style></head><body><h1>${escapeHtml(report.title)}</h1>${conditions}<p>${escapeHtml(report.verdict)}</p>${parts.join('')}</body></html>\n`;
}

function section(title: string, content: string): string {
  return content === '' ? '' : `<h2>${escapeHtml(title)}</h2>${content}`;
}

function charts(all: Parameters<typeof chartHtml>[0][]): string {
  const drawn = all.map(chartHtml).filter((html) => html !== '');
  return drawn.length === 0 ? '' : `<div class="charts">${drawn.join('')}</div>`;
}

type Cell = string | number | undefined;

/** Numbers get the digits that they need; an absent one is a dash. */
function tableHtml(titles: readonly string[], rows: readonly (readonly Cell[])[]): string {
  if (rows.length === 0) return '';
  const head = titles.map((title) => `<th>${escapeHtml(title)}</th>`).join('');
  const body = rows
    .map((row) => `<tr>${row.map((cell) => `<td>${cellText(cell)}</td>`).join('')}</tr>`)
    .join('');
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

function cellText(cell: Cell): string {
  if (typeof cell === 'string') return escapeHtml(cell);
  if (cell === undefined || Number.isNaN(cell)) return '–';
  const digits = Math.abs(cell) >= 100 || cell === 0 ? 0 : Math.abs(cell) >= 10 ? 1 : 2;
  return cell.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const VERDICT_CLASS: Readonly<Partial<Record<Standing['verdict'], string>>> = {
  'aim met': 'good',
  'bar met': 'fair',
  missed: 'bad',
};

function standingHtml(rows: readonly Standing[]): string {
  const body = rows.map((row) => {
    const { verdict, note } = row;
    const text = escapeHtml(note === '' ? verdict : `${verdict} (${note})`);
    const cells = [row.figure, barText(row.bar, row.unit), barText(row.aim, row.unit), measuredText(row)];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}<td class="${VERDICT_CLASS[verdict] ?? 'muted'}">${text}</td></tr>`;
  });
  return `<div class="scroll"><table><thead><tr><th>figure</th><th>bar</th><th>aim</th><th>measured</th><th>verdict</th></tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

const FIGURE_TITLES = [
  'phase',
  'server',
  'per second',
  'p50 ms',
  'p99',
  'p999',
  'max',
  'PUTs/s',
  'writes/PUT',
  'p50÷PUT',
  'errors',
  'CPU server',
  'store',
  'load',
  'RSS MiB',
];

function figuresHtml(results: readonly PhaseResult[]): string {
  const rows = [...groupBy(results, phaseName)].flatMap(([phase, group]) =>
    [...groupBy(group, ({ server }) => server)].map(([server, rounds]): Cell[] => {
      const of = (value: (result: PhaseResult) => number | undefined): number | undefined =>
        median(rounds.map(value).filter((one) => one !== undefined));
      return [
        phase,
        server,
        of((result) => result.throughputPerSecond),
        of(({ latency }) => latency.p50Ms),
        of(({ latency }) => latency.p99Ms),
        of(({ latency }) => latency.p999Ms),
        of(({ latency }) => latency.maxMs),
        of((result) => result.putsPerSecond),
        of((result) => result.writesPerPut),
        of((result) => result.p50OverPut),
        of((result) => result.errorCount),
        of(({ cpu }) => cpu['server']),
        of(({ cpu }) => cpu['store']),
        of(({ cpu }) => cpu['load']),
        of(({ residentMiB }) => residentMiB['server']),
      ];
    }),
  );
  return tableHtml(FIGURE_TITLES, rows);
}

function slowWritesHtml(results: readonly PhaseResult[]): string {
  const rows = slowWriteRows(results).map(({ name, figures }): Cell[] => [name, ...figures]);
  if (rows.length === 0) return '';
  const what =
    'What the server says of its writes slower than the p99 of the five seconds before, warm-up included: mean ms per stage, and requests to the store per upload.';
  return `<p class="muted">${what}</p>${tableHtml(['phase', ...SLOW_WRITE_TITLES], rows)}`;
}

function pausesHtml(results: readonly PhaseResult[]): string {
  const rows = pauseRows(results).map(({ name, figures }): Cell[] => [name, ...figures]);
  if (rows.length === 0) return '';
  const what =
    'What the server says of its threads, warm-up included: how late the event loop began what was due, on the mean and 99 % of the time, and its collections of garbage.';
  return `<p class="muted">${what}</p>${tableHtml(['phase', ...PAUSE_TITLES], rows)}`;
}

function costHtml(results: readonly PhaseResult[]): string {
  const rows = costRows(results).map((row): Cell[] => [
    row.name,
    row.putsPerSecond,
    row.putsPerThousandWrites,
    row.standard,
    row.express,
  ]);
  const titles = [
    'phase',
    'PUTs/s',
    'PUTs per 1,000 writes',
    'S3 Standard, $ per million writes',
    'S3 Express, $ per million writes',
  ];
  return tableHtml(titles, rows);
}

function toolsHtml({ http, k6 }: Outcome): string {
  const httpRows = [...groupBy(http, ({ server, target }) => `${server}: ${target}`)].map(
    ([name, group]): Cell[] => [
      name,
      median(group.map(({ perSecond }) => perSecond)),
      median(group.map(({ p50Ms }) => p50Ms)),
      median(group.map(({ p99Ms }) => p99Ms)),
      median(group.map(({ p999Ms }) => p999Ms)),
      median(group.map(({ maxMs }) => maxMs)),
    ],
  );
  const k6Rows = [...groupBy(k6, ({ server, script }) => `${server}: ${script}`)].map(
    ([name, group]): Cell[] => [
      name,
      median(group.map(({ iterationsPerSecond }) => iterationsPerSecond)),
      median(group.map(({ p50Ms }) => p50Ms)),
      median(group.map(({ p90Ms }) => p90Ms)),
      median(group.map(({ p99Ms }) => p99Ms)),
      median(group.map(({ maxMs }) => maxMs)),
    ],
  );
  return (
    tableHtml(['autocannon', 'requests/s', 'p50 ms', 'p99', 'p999', 'max'], httpRows) +
    tableHtml(['k6', 'iterations/s', 'p50 ms of a request', 'p90', 'p99', 'max'], k6Rows)
  );
}

/** The first round of each run, folded away. */
function tracesHtml(traces: readonly Trace[]): string {
  const first = traces.filter(
    ({ round, series }) => round === 1 && series.some(({ atSeconds }) => atSeconds.length > 1),
  );
  return first
    .map((trace, index) => {
      const { server, scenario, variant, steps } = trace;
      const name = [scenario, server, variant].filter((part) => part !== '').join(', ');
      const marks = steps
        .map(({ atSeconds, name: step }) => `${atSeconds.toFixed(0)} s: ${step}`)
        .join(' · ');
      const open = index === 0 ? ' open' : '';
      return `<details${open}><summary>${escapeHtml(name)} <span class="muted">${escapeHtml(SCENARIOS[scenario].about)}</span></summary><p class="muted">${escapeHtml(marks)}</p>${charts(traceCharts(trace))}</details>`;
    })
    .join('');
}
