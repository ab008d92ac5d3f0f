import { systemClock } from '../../src/shared/base/clock.ts';
import { type ApiClient, type KubeObject, versionOf } from './api-client.ts';
import { createNamespace, leasePath, requireNames } from './objects.ts';
import { percentiles } from './report.ts';
import type { ScenarioContext } from './scenario.ts';

const NAMESPACE = 'node-leases';
/** Kubelets renew every 10 s; this asks more of the server than 50 nodes would. */
const RENEW_EVERY_MS = 1_000;

/** Leases are renewed by their holders as kubelets do: each on the version that it wrote last, so none may be lost. */
export async function leaseScenario(context: ScenarioContext): Promise<void> {
  const { report, options } = context;
  const { client } = context.apiServer;
  await createNamespace(client, NAMESPACE);
  const held = new Map<string, KubeObject>();
  const durationsMs: number[] = [];
  await report.step(
    `${options.leases} Leases stay renewed for ${options.leaseSeconds} s`,
    async () => {
      const endMs = systemClock.monotonicMs() + options.leaseSeconds * 1000;
      const names = Array.from({ length: options.leases }, (_, index) => `node-${index}`);
      const startsMs = names.map(() => context.seeded.fraction() * RENEW_EVERY_MS);
      await Promise.all(
        names.map((name, index) => hold(client, name, startsMs[index]!, endMs, held, durationsMs)),
      );
      await requireHeld(client, held);
      return `${durationsMs.length} renewals, ${percentiles(durationsMs)}`;
    },
    () => `${durationsMs.length} renewals, ${percentiles(durationsMs)}`,
  );
}

async function hold(
  client: ApiClient,
  name: string,
  startMs: number,
  endMs: number,
  held: Map<string, KubeObject>,
  durationsMs: number[],
): Promise<void> {
  await systemClock.sleep(startMs);
  held.set(name, await client.expect('POST', leasePath(NAMESPACE), lease(name)));
  for (;;) {
    await systemClock.sleep(RENEW_EVERY_MS);
    const sentMs = systemClock.monotonicMs();
    if (sentMs > endMs) return;
    const body = lease(name, held.get(name)?.metadata.resourceVersion);
    held.set(name, await client.expect('PUT', leasePath(NAMESPACE, name), body));
    durationsMs.push(systemClock.monotonicMs() - sentMs);
  }
}

async function requireHeld(client: ApiClient, held: ReadonlyMap<string, KubeObject>): Promise<void> {
  const list = await client.expect('GET', leasePath(NAMESPACE));
  requireNames(list.items ?? [], held.keys());
  for (const item of list.items ?? []) {
    const last = held.get(item.metadata.name!)!;
    if (versionOf(item) === versionOf(last) && item.spec?.['renewTime'] === last.spec?.['renewTime'])
      continue;
    throw new Error(
      `${item.metadata.name} is at version ${versionOf(item)}, last renewed as ${versionOf(last)}`,
    );
  }
}

function lease(name: string, resourceVersion?: string): object {
  const now = new Date(systemClock.wallMs()).toISOString().replace('Z', '000Z');
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime: now },
  };
}
