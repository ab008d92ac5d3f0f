import type { Pace } from '../load/generator.ts';
import type { OperationName } from '../load/workload.ts';
import type { BenchOptions } from '../options.ts';
import type { ProgramName } from '../programs/programs.ts';

export const scenarioNames = [
  'kube',
  'pages',
  'count',
  'watch',
  'lists',
  'memory',
  'concurrency',
  'window',
  'budget',
  'http',
  'k6',
] as const;
export type ScenarioName = (typeof scenarioNames)[number];

/** Requests that are measured. */
export interface Phase {
  readonly do: 'phase';
  /** What the reports call it, within its scenario. */
  readonly label: string;
  readonly operation: OperationName;
  readonly pace: Pace;
  /** Instead of `--seconds`. */
  readonly seconds?: number;
  /** Clients in a process of their own that list all keys without pause meanwhile. */
  readonly listers?: number;
}

export type Step =
  | Phase
  | { readonly do: 'fill'; readonly keys: number }
  | { readonly do: 'watch'; readonly watchers: number }
  | { readonly do: 'http' }
  | { readonly do: 'k6' };

/** Flags that a scenario varies; the label goes before its phases'. */
export interface Variant {
  readonly label: string;
  readonly flags: readonly string[];
}

/** One kind of load, on a server of its own, in steps. */
export interface Scenario {
  readonly name: ScenarioName;
  /** Said in the report. */
  readonly about: string;
  /** The programs that are of interest here and can do it. */
  readonly programs: readonly ProgramName[];
  readonly valueBytes: number;
  /** Prefixes that the keys are dealt out to. */
  groups(options: BenchOptions): number;
  variants(options: BenchOptions): readonly Variant[];
  steps(options: BenchOptions): readonly Step[];
}

/** How a phase is called that has no name of its own. */
function phaseOf(operation: OperationName, pace: Pace): Phase {
  const label =
    'rate' in pace ? `${operation}, ${pace.rate}/s due` : `${operation}, ${pace.inFlight} in flight`;
  return { do: 'phase', label, operation, pace };
}

const plain = {
  valueBytes: 1024,
  groups: () => 1,
  variants: () => [{ label: '', flags: [] }],
};
const all = ['netsy', 'netsy-file', 't4', 'etcd', 'kine', 'echo'] as const;
const servers = ['netsy', 't4', 'etcd', 'kine'] as const;
const withHttp = ['netsy', 'etcd'] as const;

/** Keys per watcher: 5,000 for 1,000, which is room for as many updates at once as a straggling PUT holds up. */
const KEYS_PER_WATCHER = 5;

/** How the variant of the scenario `budget` is called in which so many PUTs a second may be sent. */
export function budgetLabel(putsPerSecond: number): string {
  return `put budget ${putsPerSecond}/s`;
}

export const LISTED_ALONE = 'update, nobody lists';
export const LISTED_BESIDE = 'update, 4 clients list';
const LISTERS = 4;

export const SCENARIOS: Readonly<Record<ScenarioName, Scenario>> = {
  kube: {
    ...plain,
    name: 'kube',
    about: 'kube-shaped transactions and point gets, at a fixed rate and with a fixed number in flight',
    programs: all,
    steps: kubeSteps,
  },
  pages: {
    ...plain,
    name: 'pages',
    about: 'pages of 500 keys of 1 KiB from random places',
    programs: servers,
    steps: ({ listKeys }) => [
      { do: 'fill', keys: listKeys },
      phaseOf('page', { inFlight: 8 }),
      phaseOf('page', { inFlight: 50 }),
    ],
  },
  count: {
    ...plain,
    name: 'count',
    about: 'counts of one large prefix, one after the other; values of 64 bytes',
    programs: servers,
    valueBytes: 64,
    steps: ({ countKeys }) => [{ do: 'fill', keys: countKeys }, phaseOf('count', { inFlight: 1 })],
  },
  watch: {
    ...plain,
    name: 'watch',
    about: 'updates under prefixes that are watched: the delay from acknowledgement to event',
    programs: servers,
    groups: ({ watchPrefixes }) => watchPrefixes,
    steps: ({ watchers, rate }) => [
      { do: 'fill', keys: KEYS_PER_WATCHER * watchers },
      { do: 'watch', watchers },
      phaseOf('update', { rate: rate || 2000 }),
    ],
  },
  lists: {
    ...plain,
    name: 'lists',
    about: 'updates, first alone and then while 4 clients list all keys, each in one answer, without pause',
    programs: servers,
    steps: ({ listKeys, rate }) => [
      { do: 'fill', keys: listKeys },
      { ...phaseOf('update', { rate: rate || 2000 }), label: LISTED_ALONE },
      { ...phaseOf('update', { rate: rate || 2000 }), label: LISTED_BESIDE, listers: LISTERS },
    ],
  },
  memory: {
    ...plain,
    name: 'memory',
    about: 'resident memory while keys of 1 KiB are updated and watched for minutes',
    programs: ['netsy', 'etcd'],
    groups: ({ watchPrefixes }) => watchPrefixes,
    steps: ({ memoryKeys, memorySeconds, watchers, rate }) => [
      { do: 'fill', keys: memoryKeys },
      { do: 'watch', watchers: Math.ceil(watchers / 5) },
      { ...phaseOf('update', { rate: rate || 2000 }), seconds: memorySeconds },
    ],
  },
  concurrency: {
    ...plain,
    name: 'concurrency',
    about: 'throughput of creates and gets by the number in flight',
    programs: all,
    steps: ({ concurrency }) => [
      ...concurrency.map((inFlight) => phaseOf('create', { inFlight })),
      ...concurrency.map((inFlight) => phaseOf('get', { inFlight })),
    ],
  },
  window: {
    ...plain,
    name: 'window',
    about: 'latency of creates by batch window and pipeline depth (these two flags are not the defaults)',
    programs: ['netsy'],
    variants: ({ batchWindows, pipelineDepths }) =>
      pipelineDepths.flatMap((depth) =>
        batchWindows.map((window) => ({
          label: `window ${window} ms, depth ${depth}`,
          flags: [`--batch-window=${window}ms`, `--pipeline-depth=${depth}`],
        })),
      ),
    steps: ({ rate }) => [phaseOf('create', { rate: rate || 2000 })],
  },
  budget: {
    ...plain,
    name: 'budget',
    about: 'latency of creates and PUTs at the store by --put-budget (this flag is not the default)',
    programs: ['netsy'],
    variants: ({ putBudgets }) =>
      putBudgets.map((budget) => ({ label: budgetLabel(budget), flags: [`--put-budget=${budget}`] })),
    steps: ({ rate }) => [phaseOf('create', { rate: rate || 2000 })],
  },
  http: {
    ...plain,
    name: 'http',
    about: 'autocannon on /health, /metrics and the JSON gateway',
    programs: withHttp,
    steps: () => [{ do: 'http' }],
  },
  k6: {
    ...plain,
    name: 'k6',
    about: "k6's scripts: kube-shaped transactions over gRPC, puts and gets over the JSON gateway",
    programs: withHttp,
    steps: () => [{ do: 'k6' }],
  },
};

/** In the order in which they run: what a later operation needs, an earlier one has created. */
function kubeSteps(options: BenchOptions): Step[] {
  const paces: Pace[] = options.inFlight.map((inFlight) => ({ inFlight }));
  if (options.rate > 0) paces.unshift({ rate: options.rate });
  return options.operations.flatMap((operation) => paces.map((pace) => phaseOf(operation, pace)));
}

/** Seconds that one run takes, warm-up included; fills are guessed at 4,000 keys a second. */
export function expectedSeconds(scenario: Scenario, options: BenchOptions): number {
  const startAndStop = 4;
  const steps = scenario.steps(options).map((step) => stepSeconds(step, options));
  return steps.reduce((sum, seconds) => sum + seconds, startAndStop);
}

function stepSeconds(step: Step, options: BenchOptions): number {
  switch (step.do) {
    case 'fill':
      return step.keys / 4000;
    case 'phase':
      return options.warmup + (step.seconds ?? options.seconds);
    case 'watch':
      return 1;
    case 'http':
      return 4 * options.seconds;
    case 'k6':
      return 2 * options.seconds;
  }
}
