import { systemClock } from '../../src/shared/base/clock.ts';
import { type ApiClient, versionOf } from './api-client.ts';
import { createNamespace, event, eventPath, listInPages, requireNames, some } from './objects.ts';
import { inParallel } from './parallel.ts';
import { WatchRecorder } from './recorder.ts';
import { rate } from './report.ts';
import { IN_FLIGHT, LAG_DEADLINE_MS, type ScenarioContext } from './scenario.ts';

const NAMESPACE = 'events';
const EVENTS = 200;
const PAGE = 50;
/** The API server shares a lease for up to a twentieth of the TTL (its lease manager), and etcd counts in seconds. */
const EARLY_MS = 1_000;

/**
 * Events live on etcd leases. The API server does not cache them, so these lists, pages and watches are
 * answered by our server itself.
 */
export async function eventScenario(context: ScenarioContext): Promise<void> {
  const { report, options } = context;
  const { client } = context.apiServer;
  await createNamespace(client, NAMESPACE);
  const before = versionOf(await client.expect('GET', eventPath(NAMESPACE)));
  const acknowledgedMs = new Map<string, number>();
  await report.step(`${EVENTS} Events with a TTL of ${options.eventTtlSeconds} s are created`, async () => {
    const figures = await createEvents(client, acknowledgedMs);
    const { items, pages } = await listInPages(client, eventPath(NAMESPACE), PAGE);
    requireNames(items, acknowledgedMs.keys());
    return `${figures}, listed in ${pages.length} pages`;
  });
  const watch = await WatchRecorder.open(client, eventPath(NAMESPACE), before);
  try {
    await report.step('a watch from before their creation replays each once', async () => {
      await watch.untilAll('every creation', LAG_DEADLINE_MS, () => watch.events.length >= EVENTS);
      const added = watch.events.filter((seen) => seen.type === 'ADDED');
      requireNames(
        added.map((seen) => seen.object),
        acknowledgedMs.keys(),
      );
      return `${added.length} events`;
    });
    await report.step('the Events vanish when their TTL ends, not before, and the watch sees each go', () =>
      vanish(context, watch, acknowledgedMs),
    );
  } finally {
    await watch.close();
  }
}

async function createEvents(client: ApiClient, acknowledgedMs: Map<string, number>): Promise<string> {
  const startMs = systemClock.monotonicMs();
  const names = Array.from({ length: EVENTS }, (_, index) => `event-${String(index).padStart(4, '0')}`);
  await inParallel(IN_FLIGHT, names, async (name) => {
    await client.expect('POST', eventPath(NAMESPACE), event(NAMESPACE, name, `the ${name}`));
    acknowledgedMs.set(name, systemClock.monotonicMs());
  });
  return rate(names.length, startMs);
}

async function vanish(
  context: ScenarioContext,
  watch: WatchRecorder,
  acknowledgedMs: ReadonlyMap<string, number>,
): Promise<string> {
  const ttlMs = context.options.eventTtlSeconds * 1000;
  const goneMs = new Map<string, number>();
  let looked = 0;
  await watch.untilAll('every expiry', 2 * ttlMs + LAG_DEADLINE_MS, () => {
    for (; looked < watch.events.length; looked += 1) {
      const seen = watch.events[looked]!;
      if (seen.type === 'DELETED') goneMs.set(seen.object.metadata.name!, systemClock.monotonicMs());
    }
    return goneMs.size === EVENTS;
  });
  const list = await context.apiServer.client.expect('GET', eventPath(NAMESPACE));
  requireNames(list.items ?? [], []);
  if (watch.events.length !== 2 * EVENTS) throw new Error(`the watch saw ${watch.events.length} events`);
  const ages = [...goneMs].map(([name, ms]) => ms - acknowledgedMs.get(name)!);
  const early = [...goneMs.keys()].filter((_, index) => ages[index]! < ttlMs - EARLY_MS);
  if (early.length > 0) throw new Error(`gone before their TTL: ${some(early)}, at ${Math.min(...ages)} ms`);
  return `at the age of ${(Math.min(...ages) / 1000).toFixed(1)} to ${(Math.max(...ages) / 1000).toFixed(1)} s`;
}
