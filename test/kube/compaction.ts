import { type ApiClient, type ApiResponse, describe, versionOf } from './api-client.ts';
import { configMap, configMapPath, createNamespace, event, eventPath } from './objects.ts';
import { eventually } from './parallel.ts';
import { WatchRecorder } from './recorder.ts';
import type { ScenarioContext } from './scenario.ts';

const NAMESPACE = 'compaction';
const GONE = 410;

/** The API server compacts; what is older is refused as too old, in a way that it understands, and the rest goes on. */
export async function compactionScenario(context: ScenarioContext): Promise<void> {
  const { report, options } = context;
  const { client } = context.apiServer;
  await createNamespace(client, NAMESPACE);
  const token = await eventPageToken(client);
  const old = versionOf(await client.expect('GET', eventPath(NAMESPACE)));
  await report.step(
    'a list at an exact version is answered until that is compacted, then is 410',
    async () => {
      const first = await listEventsAt(client, old);
      if (first.status !== 200) throw new Error(`before the compaction: ${describe(first)}`);
      const refused = await untilCompacted(client, old, options.compactionSeconds);
      return `version ${old}: ${refused.body.reason}`;
    },
  );
  await report.step('a watch from a compacted version is told 410', () => watchFromCompacted(client, old));
  await report.step('a page token of a compacted version is told 410', async () => {
    const query = { limit: 1, continue: token };
    const response = await client.send('GET', eventPath(NAMESPACE), undefined, query);
    if (response.status !== GONE) throw new Error(`the page token got ${describe(response)}`);
    return response.body.reason ?? '';
  });
  await report.step('writes, lists and watches at the current version go on', () => goesOn(client));
}

/** Where to go on after the first of two Events. Events are not cached by the API server: our server is asked. */
async function eventPageToken(client: ApiClient): Promise<string> {
  for (const name of ['first', 'second']) {
    await client.expect('POST', eventPath(NAMESPACE), event(NAMESPACE, name, name));
  }
  const page = await client.expect('GET', eventPath(NAMESPACE), undefined, { limit: 1 });
  const token = page.metadata.continue;
  if (token === undefined || page.items?.length !== 1) {
    throw new Error(`a page of 1 of 2 Events had ${page.items?.length} and the token ${token}`);
  }
  return token;
}

function listEventsAt(client: ApiClient, version: bigint): Promise<ApiResponse> {
  const query = { limit: 1, resourceVersion: String(version), resourceVersionMatch: 'Exact' };
  return client.send('GET', eventPath(NAMESPACE), undefined, query);
}

/** The compactor compacts to what was current one interval before, so two intervals pass at least. */
function untilCompacted(client: ApiClient, version: bigint, intervalSeconds: number): Promise<ApiResponse> {
  return eventually(`version ${version} was not compacted`, (4 * intervalSeconds + 30) * 1000, async () => {
    // Something must change in each interval, or the API server has nothing to compact.
    await client.expect('POST', configMapPath(NAMESPACE), {
      ...configMap('', ''),
      metadata: { generateName: 'any-' },
    });
    const response = await listEventsAt(client, version);
    if (response.status === GONE) return response;
    if (response.status !== 200) throw new Error(describe(response));
    return undefined;
  });
}

async function watchFromCompacted(client: ApiClient, version: bigint): Promise<string> {
  const abort = new AbortController();
  try {
    const query = { resourceVersion: String(version), timeoutSeconds: 30 };
    for await (const first of await client.watch(eventPath(NAMESPACE), query, abort.signal)) {
      if (first.type === 'ERROR' && first.object.code === GONE) return first.object.message ?? '';
      throw new Error(`the first event was ${first.type} ${first.object.code} ${first.object.message}`);
    }
    throw new Error('the watch ended without a word');
  } finally {
    abort.abort();
  }
}

async function goesOn(client: ApiClient): Promise<string> {
  const list = await client.expect('GET', configMapPath(NAMESPACE));
  const watch = await WatchRecorder.open(client, configMapPath(NAMESPACE), versionOf(list));
  try {
    const last = await client.expect('POST', configMapPath(NAMESPACE), configMap('last', 'last'));
    await watch.until('the write after the compaction', 30_000, (seen) => seen.version === versionOf(last));
    return `${list.items?.length} objects, version ${versionOf(last)}`;
  } finally {
    await watch.close();
  }
}
