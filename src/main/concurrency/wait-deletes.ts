import {
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Event_EventType } from '../../shared/etcd/gen/mvccpb/kv_pb.ts';
import type { EtcdCalls, KeyPrefix } from './calls.ts';

/**
 * Resolves when no key is left under the prefix that came to be at `maxCreateRevision` or before. It waits for the
 * newest of them alone, so that each deletion wakes one waiter; only if that one left the queue early are there
 * others to wait for. Rejects as `OwnWatch.next` does.
 */
export async function waitDeletes(
  calls: EtcdCalls,
  prefix: KeyPrefix,
  maxCreateRevision: bigint,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { header, kvs } = await calls.range({
      ...prefix,
      maxCreateRevision,
      limit: 1n,
      sortTarget: RangeRequest_SortTarget.CREATE,
      sortOrder: RangeRequest_SortOrder.DESCEND,
    });
    const last = kvs[0];
    if (last === undefined) return;
    await waitDelete(calls, last.key, header!.revision, signal);
  }
}

async function waitDelete(
  calls: EtcdCalls,
  key: Uint8Array,
  startRevision: bigint,
  signal: AbortSignal,
): Promise<void> {
  const watch = calls.watch({ key, startRevision }, signal);
  try {
    for (;;) {
      const { events } = await watch.next();
      if (events.some(({ type }) => type === Event_EventType.DELETE)) return;
    }
  } finally {
    watch.close();
  }
}
