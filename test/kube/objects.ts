import { systemClock } from '../../src/shared/base/clock.ts';
import type { ApiClient, KubeObject, Query } from './api-client.ts';

/** The path of a namespace's ConfigMaps, or of one. */
export function configMapPath(namespace: string, name?: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps${name === undefined ? '' : `/${name}`}`;
}

/** The path of a namespace's Events. */
export function eventPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/events`;
}

/** The path of a namespace's Leases, or of one. */
export function leasePath(namespace: string, name?: string): string {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  return name === undefined ? path : `${path}/${name}`;
}

/** A ConfigMap; with a `resourceVersion` it replaces exactly that version. */
export function configMap(name: string, content: string, resourceVersion?: bigint): KubeObject {
  const version = resourceVersion === undefined ? {} : { resourceVersion: String(resourceVersion) };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...version }, data: { content } };
}

/** What `configMap` put in. */
export function contentOf(object: KubeObject): string | undefined {
  return object.data?.['content'];
}

/** A `v1` Event about a Pod that need not exist. */
export function event(namespace: string, name: string, message: string): object {
  const now = new Date(systemClock.wallMs()).toISOString();
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name },
    reason: 'Tested',
    message,
    type: 'Normal',
    firstTimestamp: now.replace(/\.\d+Z/, 'Z'),
    source: { component: 'kube-scenarios' },
  };
}

/** Creates a namespace. */
export async function createNamespace(client: ApiClient, name: string): Promise<void> {
  await client.expect('POST', '/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name },
  });
}

/** A whole list in pages of `limit`, and how many pages it took. */
export async function listInPages(
  client: ApiClient,
  path: string,
  limit: number,
): Promise<{ items: KubeObject[]; pages: KubeObject[] }> {
  const items: KubeObject[] = [];
  const pages: KubeObject[] = [];
  let query: Query | undefined = { limit };
  while (query !== undefined) {
    const page = await client.expect('GET', path, undefined, query);
    pages.push(page);
    items.push(...(page.items ?? []));
    const token = page.metadata.continue;
    query = token === undefined || token === '' ? undefined : { limit, continue: token };
  }
  return { items, pages };
}

/** Throws unless `items` are exactly the objects `names`, each once. */
export function requireNames(items: readonly KubeObject[], names: Iterable<string>): void {
  const found = items.map((item) => item.metadata.name ?? '');
  const unique = new Set(found);
  const wanted = new Set(names);
  const twice = found.length - unique.size;
  const missing = [...wanted].filter((name) => !unique.has(name));
  const foreign = [...unique].filter((name) => !wanted.has(name));
  if (twice > 0 || missing.length > 0 || foreign.length > 0) {
    throw new Error(
      `${found.length} objects listed, ${wanted.size} wanted: ${twice} twice, ` +
        `missing ${some(missing)}, not wanted ${some(foreign)}`,
    );
  }
}

/** How many, and the first few, for an error. */
export function some(names: readonly string[]): string {
  return names.length === 0 ? 'none' : `${names.length} (${names.slice(0, 5).join(', ')})`;
}
