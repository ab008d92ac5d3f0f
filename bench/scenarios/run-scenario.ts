import type { LoadProcess } from '../load/load-process.ts';
import type { RunningServer } from '../programs/program.ts';
import { type HttpResult, runHttp } from '../tools/http.ts';
import { type K6Result, runK6 } from '../tools/k6.ts';
import { type PhaseResult, runPhase, type Surroundings, wholeShare } from './phase.ts';
import type { Phase, Scenario, Step } from './scenario.ts';

/** Requests at any time while keys are made that a scenario begins with. */
const FILL_IN_FLIGHT = 500;

/** One load process for the load, or one that lists beside it. */
type StartLoad = () => Promise<LoadProcess>;

/** What a scenario tells while it runs. */
interface Listener {
  phase(result: PhaseResult): void;
  http(result: HttpResult): void;
  k6(result: K6Result): void;
  /** A step begins. */
  step(what: string): void;
}

export interface ScenarioRun {
  readonly around: Surroundings;
  readonly scenario: Scenario;
  readonly server: RunningServer;
  /** What the keys of this run start with; ends with a slash. */
  readonly prefix: string;
  readonly startLoad: StartLoad;
  readonly listener: Listener;
}

/** Takes the scenario's steps one after the other. Rejects when a step can't be taken. */
export async function runScenario(run: ScenarioRun): Promise<void> {
  for (const step of run.scenario.steps(run.around.options)) {
    run.listener.step(nameOf(step));
    await runStep(run, step);
  }
}

function nameOf(step: Step): string {
  switch (step.do) {
    case 'fill':
      return `${step.keys} keys are created`;
    case 'watch':
      return `${step.watchers} watchers are created`;
    case 'phase':
      return step.label;
    case 'http':
      return 'autocannon';
    case 'k6':
      return 'k6';
  }
}

async function runStep(run: ScenarioRun, step: Step): Promise<void> {
  const { around, server, listener } = run;
  const { loads, options } = around;
  const count = loads.length;
  switch (step.do) {
    case 'fill':
      await together(loads, (index) => ({
        do: 'fill',
        keys: wholeShare(step.keys, count, index),
        inFlight: Math.max(1, wholeShare(FILL_IN_FLIGHT, count, index)),
      }));
      return;
    case 'watch':
      await together(loads, (index) => ({
        do: 'watch',
        watchers: wholeShare(step.watchers, count, index),
      }));
      return;
    case 'phase':
      await measure(run, step);
      return;
    case 'http':
      await runHttp({ server, name: around.server, round: around.round, options, listener: listener.http });
      return;
    case 'k6':
      await runK6({ server, name: around.server, round: around.round, options, listener: listener.k6 });
      return;
  }
}

async function together(
  loads: readonly LoadProcess[],
  command: (index: number) => Parameters<LoadProcess['do']>[0],
): Promise<void> {
  await Promise.all(loads.map((load, index) => load.do(command(index))));
}

async function measure(run: ScenarioRun, phase: Phase): Promise<void> {
  if (phase.listers === undefined) {
    run.listener.phase(await runPhase(run.around, phase));
    return;
  }
  const lister = await run.startLoad();
  try {
    const listing = listBeside(run, lister, phase, phase.listers);
    const [result] = await Promise.all([runPhase(run.around, phase), listing]);
    run.listener.phase(result);
  } finally {
    await lister.child.end();
  }
}

/**
 * Lists all keys from a process of its own, each client on a connection of its own: what taking such an answer
 * apart costs must not delay the writes' answers in the generator.
 */
async function listBeside(
  { around, scenario, server, prefix, listener }: ScenarioRun,
  lister: LoadProcess,
  phase: Phase,
  inFlight: number,
): Promise<void> {
  const { options } = around;
  const fills = scenario.steps(options).map((step) => (step.do === 'fill' ? step.keys : 0));
  const count = fills.reduce((sum, keys) => sum + keys, 0);
  const shape = { prefix, seed: 0, valueBytes: scenario.valueBytes, groups: 1, unchecked: false };
  await lister.do({ do: 'open', host: server.host, port: server.port, connections: inFlight, shape });
  const list: Phase = {
    ...phase,
    label: `list of ${count} beside it`,
    operation: 'list',
    pace: { inFlight },
  };
  const pids = new Map([['load', [lister.child.pid]]]);
  const foreign = { prefix, count };
  listener.phase(await runPhase({ ...around, loads: [lister], store: undefined, pids }, list, foreign));
}
