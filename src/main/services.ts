import type { Random } from '../shared/base/random.ts';
import type { Settings } from './config/settings.ts';
import type { Engine } from './engine.ts';
import { kvHandlers } from './rpc/kv.ts';
import { leaseHandlers } from './rpc/lease.ts';
import type { ServiceHandlers } from './rpc/service.ts';

/** etcd's KV service on an engine. */
export function kvService(
  engine: Engine,
  { maxRequestBytes, maxTxnOps }: Pick<Settings, 'maxRequestBytes' | 'maxTxnOps'>,
): ServiceHandlers {
  return kvHandlers({
    gate: engine.gate,
    readers: engine.readers,
    identity: engine.identity,
    compacted: (revision) => engine.compactions.wait(revision),
    guard: engine.guard,
    maxRequestBytes,
    maxTxnOps,
    submit: (...write) => void engine.pipeline.submit(...write),
  });
}

/** etcd's Lease service on an engine; `random` chooses ids. */
export function leaseService(engine: Engine, random: Random): ServiceHandlers {
  const { gate, guard, readers, lessor, identity, pipeline } = engine;
  const submit = (...write: Parameters<typeof pipeline.submit>): void => void pipeline.submit(...write);
  return leaseHandlers({ submit, gate, readers, lessor, identity, guard, random });
}
