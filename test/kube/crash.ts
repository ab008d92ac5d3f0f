import { setMaxListeners } from 'node:events';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Seeded } from '../support/seeded.ts';
import type { KubeObject } from './api-client.ts';
import { Informer } from './informer.ts';
import { ABSENT, type Entry, stateOf } from './ledger.ts';
import { configMapPath, createNamespace, event, eventPath, requireNames, some } from './objects.ts';
import { eventually, inParallel } from './parallel.ts';
import { IN_FLIGHT, LAG_DEADLINE_MS, type ScenarioContext } from './scenario.ts';
import { Writer, type WriterTotals } from './writer.ts';

const NAMESPACE = 'crash';
const WRITERS = 16;
const EVENTS = 50;
/** How long a restarted server may take until it acknowledges writes again. */
const RECOVERY_DEADLINE_MS = 90_000;

/** The server is killed under write load, again and again; nothing acknowledged is lost, and all clients recover. */
export async function crashScenario(context: ScenarioContext): Promise<void> {
  const { client } = context.apiServer;
  await createNamespace(client, NAMESPACE);
  const load = new Load(context);
  try {
    await load.start();
    for (let kill = 1; kill <= context.options.kills; kill += 1) await killStep(context, load, kill);
    const { kills } = context.options;
    if (kills > 0 && context.backing.forgetLocalState !== undefined) await forgetStep(context, load);
    await settle(context, load);
  } finally {
    await load.stop().catch(() => undefined);
    await load.informer.stop();
  }
}

/** The writers and the informer, which go on through all kills. */
class Load {
  readonly totals: WriterTotals = { acknowledged: 0, unknown: 0, newestSentMs: 0, byVersion: new Map() };
  readonly writers: readonly Writer[];
  readonly informer: Informer;
  readonly #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #failure: Error | undefined;

  constructor(context: ScenarioContext) {
    const { client } = context.apiServer;
    // Every writer waits for it.
    setMaxListeners(0, this.#abort.signal);
    this.informer = new Informer(client, configMapPath(NAMESPACE));
    const setting = { client, namespace: NAMESPACE, totals: this.totals, signal: this.#abort.signal };
    this.writers = Array.from({ length: WRITERS }, (_, index) => {
      const seeded = new Seeded(context.seeded.integer(1, 2 ** 31));
      return new Writer(setting, `writer-${index}`, seeded);
    });
  }

  async start(): Promise<void> {
    this.informer.start();
    this.#running = Promise.all(
      this.writers.map((writer) => writer.run().catch((error) => this.#fail(error))),
    );
    await this.untilAcknowledged(WRITERS, systemClock.monotonicMs());
  }

  /** Waits until `count` more writes are acknowledged, of which the last was sent after `sinceMs`. */
  async untilAcknowledged(count: number, sinceMs: number): Promise<void> {
    const goal = this.totals.acknowledged + count;
    await eventually(
      () => `no ${count} writes were acknowledged; ${this.totals.unknown} so far got no answer`,
      RECOVERY_DEADLINE_MS,
      async () => {
        this.rethrow();
        const { acknowledged, newestSentMs } = this.totals;
        return acknowledged >= goal && newestSentMs > sinceMs ? true : undefined;
      },
      20,
    );
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#abort.abort();
  }

  /** Throws what a writer found wrong. */
  rethrow(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the writers, each after its request under way. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    this.rethrow();
  }

  entries(): Entry[] {
    return this.writers.flatMap((writer) => writer.entries);
  }
}

async function killStep(context: ScenarioContext, load: Load, kill: number): Promise<void> {
  const { report, seeded, options } = context;
  await report.step(`kill -9 ${kill} of ${options.kills} under write load: the API server writes again`, () =>
    killOnce(context, load, seeded.integer(500, 3000), seeded.integer(0, 2000)),
  );
}

async function forgetStep(context: ScenarioContext, load: Load): Promise<void> {
  await context.report.step('kill -9 and its data directory deleted: the store alone brings it back', () =>
    killOnce(context, load, 1000, 0, context.backing.forgetLocalState),
  );
}

async function killOnce(
  context: ScenarioContext,
  load: Load,
  loadMs: number,
  downMs: number,
  whileDown?: () => void,
): Promise<string> {
  const { backing } = context;
  await systemClock.sleep(loadMs);
  const before = { ...load.totals };
  await backing.kill();
  whileDown?.();
  await systemClock.sleep(downMs);
  const startedMs = systemClock.monotonicMs();
  await backing.start();
  const healthyMs = systemClock.monotonicMs();
  await load.untilAcknowledged(1, startedMs);
  const writesMs = systemClock.monotonicMs();
  await load.untilAcknowledged(10 * WRITERS, startedMs);
  requireApiServerAlive(context);
  return (
    `${before.acknowledged} acknowledged before, down ${downMs} ms, healthy after ${Math.round(healthyMs - startedMs)} ms, ` +
    `first write after ${Math.round(writesMs - startedMs)} ms, ${load.totals.unknown - before.unknown} without answer`
  );
}

async function settle(context: ScenarioContext, load: Load): Promise<void> {
  const { report } = context;
  await report.step('nothing acknowledged is lost, and nothing else appeared', async () => {
    await load.stop();
    return checkLedger(context, load);
  });
  await report.step('the informer holds what the list holds', () => converge(context, load));
  if (context.options.kills > 0)
    await report.step('Events still expire after a kill', () => expireAcross(context));
  await report.step('the API server is the same process, and ready', async () => {
    requireApiServerAlive(context);
    const ready = await context.apiServer.client.text('/readyz');
    if (ready.status !== 200) throw new Error(`/readyz: ${ready.status} ${ready.text}`);
    return `pid ${context.apiServer.pid}`;
  });
}

async function checkLedger(context: ScenarioContext, load: Load): Promise<string> {
  const list = await context.apiServer.client.expect('GET', configMapPath(NAMESPACE));
  const found = new Map((list.items ?? []).map((item): [string, KubeObject] => [item.metadata.name!, item]));
  const entries = load.entries();
  const wrong: string[] = [];
  for (const entry of entries) {
    const object = found.get(entry.name);
    found.delete(entry.name);
    try {
      entry.observe(object === undefined ? ABSENT : stateOf(object));
    } catch (error) {
      wrong.push((error as Error).message);
    }
  }
  wrong.push(...[...found.keys()].map((name) => `${name} was never created`));
  if (wrong.length > 0)
    throw new Error(`${wrong.length} objects are wrong:\n${wrong.slice(0, 20).join('\n')}`);
  const { acknowledged, unknown } = load.totals;
  return `${acknowledged} writes acknowledged, ${unknown} without answer, ${entries.length} objects checked`;
}

/** Versions and contents that the informer saw must be the acknowledged ones, and its end state the list's. */
async function converge(context: ScenarioContext, load: Load): Promise<string> {
  const { informer } = load;
  const wanted = new Map<string, string>();
  const list = await context.apiServer.client.expect('GET', configMapPath(NAMESPACE));
  for (const item of list.items ?? []) wanted.set(item.metadata.name!, item.metadata.resourceVersion!);
  await eventually(
    () => `the informer holds ${informer.known.size} objects, the list ${wanted.size}, and they differ`,
    LAG_DEADLINE_MS,
    async () => (equalVersions(informer.known, wanted) ? true : undefined),
  );
  const foreign = informer.seen.filter((seen) => {
    const written = load.totals.byVersion.get(seen.version);
    return written !== undefined && (written.name !== seen.name || written.content !== seen.content);
  });
  const wrong = [
    ...informer.violations,
    ...foreign.map((seen) => `${seen.name} ${seen.how} at ${seen.version}`),
  ];
  if (wrong.length > 0) throw new Error(`the informer was shown what can't be: ${some(wrong)}`);
  return `${wanted.size} objects, after ${informer.lists} lists, ${informer.watches} watches, ${informer.seen.length} states`;
}

function equalVersions(known: ReadonlyMap<string, bigint>, wanted: ReadonlyMap<string, string>): boolean {
  return (
    known.size === wanted.size && [...wanted].every(([name, version]) => known.get(name) === BigInt(version))
  );
}

async function expireAcross(context: ScenarioContext): Promise<string> {
  const { client } = context.apiServer;
  const names = Array.from({ length: EVENTS }, (_, index) => `event-${index}`);
  await inParallel(IN_FLIGHT, names, async (name) => {
    await client.expect('POST', eventPath(NAMESPACE), event(NAMESPACE, name, 'before the kill'));
  });
  await context.backing.kill();
  await context.backing.start();
  const startMs = systemClock.monotonicMs();
  const first = await eventually('no list after the kill', RECOVERY_DEADLINE_MS, () => listOnce(context));
  requireNames(first, names);
  // A restart gives every lease its full TTL again.
  await eventually(
    'the Events did not expire',
    3 * context.options.eventTtlSeconds * 1000 + LAG_DEADLINE_MS,
    async () => {
      const items = await listOnce(context);
      return items?.length === 0 ? true : undefined;
    },
  );
  return `${EVENTS} Events there after the restart, gone ${((systemClock.monotonicMs() - startMs) / 1000).toFixed(1)} s later`;
}

async function listOnce(context: ScenarioContext): Promise<readonly KubeObject[] | undefined> {
  const response = await context.apiServer.client.send('GET', eventPath(NAMESPACE)).catch(() => undefined);
  return response?.status === 200 ? (response.body.items ?? []) : undefined;
}

function requireApiServerAlive(context: ScenarioContext): void {
  if (!context.apiServer.running()) throw new Error('the API server itself ended');
}
