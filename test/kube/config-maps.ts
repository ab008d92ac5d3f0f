import { systemClock } from '../../src/shared/base/clock.ts';
import type { Seeded } from '../support/seeded.ts';
import { type ApiClient, type KubeObject, versionOf } from './api-client.ts';
import {
  configMap,
  configMapPath,
  contentOf,
  createNamespace,
  listInPages,
  requireNames,
} from './objects.ts';
import { inParallel } from './parallel.ts';
import { type SeenEvent, WatchRecorder } from './recorder.ts';
import { percentiles, rate } from './report.ts';
import { IN_FLIGHT, LAG_DEADLINE_MS, type ScenarioContext } from './scenario.ts';

const NAMESPACE = 'objects';
const PAGE = 100;
const SENTINEL = 'sentinel';

/** An acknowledged write: what a watch must show, once. */
interface Acknowledged {
  readonly version: bigint;
  readonly content: string;
}

/** ConfigMaps are created, listed in pages, updated and deleted while watches see each change once and in order. */
export async function configMapScenario(context: ScenarioContext): Promise<void> {
  const { report, options } = context;
  const { client } = context.apiServer;
  await createNamespace(client, NAMESPACE);
  const before = versionOf(await client.expect('GET', configMapPath(NAMESPACE)));
  const names = Array.from(
    { length: options.configMaps },
    (_, index) => `map-${String(index).padStart(5, '0')}`,
  );
  const created = new Map<string, Acknowledged>();
  const updated = new Map<string, Acknowledged>();
  const watch = await WatchRecorder.open(client, configMapPath(NAMESPACE), before);
  try {
    await report.step(`${names.length} ConfigMaps are created`, () =>
      create(client, context.seeded, names, created),
    );
    await report.step(`a list in pages of ${PAGE} holds each of them once`, () => listPages(client, created));
    await report.step('each is updated', () => update(client, context.seeded, created, updated));
    await report.step('each is deleted, and the list is empty', () => deleteAll(client, names));
    await report.step('one watch saw each change once, in order and with its contents', () =>
      requireWatched(client, watch, created, updated),
    );
  } finally {
    await watch.close();
  }
}

async function create(
  client: ApiClient,
  seeded: Seeded,
  names: readonly string[],
  created: Map<string, Acknowledged>,
): Promise<string> {
  const contents = new Map(names.map((name) => [name, seeded.text(seeded.integer(1024, 2048))]));
  return timed(names, async (name) => {
    const content = contents.get(name)!;
    const object = await client.expect('POST', configMapPath(NAMESPACE), configMap(name, content));
    created.set(name, { version: versionOf(object), content });
  });
}

async function listPages(client: ApiClient, created: ReadonlyMap<string, Acknowledged>): Promise<string> {
  const { items, pages } = await listInPages(client, configMapPath(NAMESPACE), PAGE);
  requireNames(items, created.keys());
  for (const item of items) requireSame(item, created.get(item.metadata.name!)!);
  const versions = new Set(pages.map((page) => versionOf(page)));
  if (versions.size !== 1)
    throw new Error(`the pages are of different versions: ${[...versions].join(', ')}`);
  const wanted = Math.ceil(created.size / PAGE);
  if (pages.length !== wanted) throw new Error(`${pages.length} pages came, not ${wanted}`);
  return `${pages.length} pages of version ${versionOf(pages[0]!)}`;
}

async function update(
  client: ApiClient,
  seeded: Seeded,
  created: ReadonlyMap<string, Acknowledged>,
  updated: Map<string, Acknowledged>,
): Promise<string> {
  return timed([...created.keys()], async (name) => {
    const content = seeded.text(1200);
    const body = configMap(name, content, created.get(name)!.version);
    const object = await client.expect('PUT', configMapPath(NAMESPACE, name), body);
    updated.set(name, { version: versionOf(object), content });
  });
}

async function deleteAll(client: ApiClient, names: readonly string[]): Promise<string> {
  const figures = await timed(names, async (name) => {
    await client.expect('DELETE', configMapPath(NAMESPACE, name));
  });
  const list = await client.expect('GET', configMapPath(NAMESPACE));
  requireNames(list.items ?? [], []);
  return figures;
}

/** A last object, which comes after all else, shows that nothing is still on its way, and nothing came twice. */
async function requireWatched(
  client: ApiClient,
  watch: WatchRecorder,
  created: ReadonlyMap<string, Acknowledged>,
  updated: ReadonlyMap<string, Acknowledged>,
): Promise<string> {
  await client.expect('POST', configMapPath(NAMESPACE), configMap(SENTINEL, ''));
  const all = await watch.until(
    'the last object',
    LAG_DEADLINE_MS,
    (event) => event.object.metadata.name === SENTINEL,
  );
  const events = all.slice(0, -1);
  requireEvents(events, 'ADDED', created);
  requireEvents(events, 'MODIFIED', updated);
  const deleted = events.filter((event) => event.type === 'DELETED');
  requireNames(
    deleted.map((event) => event.object),
    created.keys(),
  );
  return `${events.length} events, versions ${events[0]?.version} to ${events.at(-1)?.version}`;
}

function requireEvents(
  events: readonly SeenEvent[],
  type: SeenEvent['type'],
  wanted: ReadonlyMap<string, Acknowledged>,
): void {
  const objects = events.filter((event) => event.type === type).map((event) => event.object);
  requireNames(objects, wanted.keys());
  for (const object of objects) requireSame(object, wanted.get(object.metadata.name!)!);
}

function requireSame(object: KubeObject, acknowledged: Acknowledged): void {
  if (versionOf(object) === acknowledged.version && contentOf(object) === acknowledged.content) return;
  throw new Error(
    `${object.metadata.name} has version ${versionOf(object)} and ${contentOf(object)?.length} characters; ` +
      `acknowledged were version ${acknowledged.version} and ${acknowledged.content.length}`,
  );
}

async function timed(names: readonly string[], action: (name: string) => Promise<void>): Promise<string> {
  const startMs = systemClock.monotonicMs();
  const durationsMs: number[] = [];
  await inParallel(IN_FLIGHT, names, async (name) => {
    const sentMs = systemClock.monotonicMs();
    await action(name);
    durationsMs.push(systemClock.monotonicMs() - sentMs);
  });
  return `${rate(names.length, startMs)} with ${IN_FLIGHT} in flight, ${percentiles(durationsMs)}`;
}
