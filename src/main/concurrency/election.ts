import type { CampaignRequest, LeaderKey, LeaderKeyRequest } from '../../shared/etcd/concurrency-requests.ts';
import { GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import type { ResponseHeader } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Event_EventType, type KeyValue } from '../../shared/etcd/gen/mvccpb/kv_pb.ts';
import {
  createdAt,
  type EtcdCalls,
  firstCreated,
  foundBy,
  type KeyPrefix,
  keyOf,
  ownRevision,
  prefixOf,
  putOp,
  rangeOp,
  sessionLease,
} from './calls.ts';
import { waitDeletes } from './wait-deletes.ts';

/**
 * Elections by the keys and rules of etcd's clientv3/concurrency Election: campaigners put `name/LEASE` with the
 * value they would say, and the one whose key is the oldest leads.
 */

type Header = ResponseHeader | undefined;

/** What the leader says, and as of which revision that is known. */
export interface Leadership {
  readonly header: Header;
  readonly kv: KeyValue;
}

const NOT_LEADER = 'election: not leader';
const NO_LEADER = 'election: no leader';
const NO_LEADER_KEY = '"leader" field must be provided';

/** Resolves when the caller leads. A wait that `signal` ends takes the caller's key out of the queue. */
export async function campaign(
  calls: EtcdCalls,
  { name, lease: given, value }: CampaignRequest,
  signal: AbortSignal,
): Promise<{ header: Header; leader: LeaderKey }> {
  const prefix = prefixOf(name);
  const lease = await sessionLease(calls, given);
  const key = keyOf(prefix, lease);
  const entered = await calls.txn({
    compare: [createdAt(key, 0n)],
    success: [putOp(key, value, lease)],
    failure: [rangeOp({ key })],
  });
  const leader = { name, key, rev: ownRevision(entered), lease };
  await sayAgain(calls, leader, foundBy(entered, 0)[0], value);
  try {
    await waitDeletes(calls, prefix, leader.rev - 1n, signal);
  } catch (error) {
    // As etcd: after any other failure the key stays, and whoever campaigns again with the lease keeps its place.
    if (signal.aborted) await withdraw(calls, leader).catch(() => {});
    throw error;
  }
  return { header: entered.header, leader };
}

/** A campaigner whose key is there already says its new value under it. */
async function sayAgain(
  calls: EtcdCalls,
  leader: LeaderKey,
  said: KeyValue | undefined,
  value: Uint8Array,
): Promise<void> {
  if (said === undefined || Buffer.compare(said.value, value) === 0) return;
  try {
    await say(calls, leader, value);
  } catch (error) {
    await withdraw(calls, leader).catch(() => {});
    throw error;
  }
}

/** Says another value; fails when the caller's key is not there any more. */
export async function proclaim(calls: EtcdCalls, { leader, value }: LeaderKeyRequest): Promise<Header> {
  if (leader === undefined) throw new RefusedError(GrpcCode.Unknown, NO_LEADER_KEY);
  return say(calls, { ...leader, lease: await sessionLease(calls, leader.lease) }, value);
}

async function say(calls: EtcdCalls, { key, rev, lease }: LeaderKey, value: Uint8Array): Promise<Header> {
  const { succeeded, header } = await calls.txn({
    compare: [createdAt(key, rev)],
    success: [putOp(key, value, lease)],
  });
  if (!succeeded) throw new RefusedError(GrpcCode.Unknown, NOT_LEADER);
  return header;
}

/** Gives the lead, or the place in the queue, up; no error if that is lost already. */
export async function resign(calls: EtcdCalls, { leader }: LeaderKeyRequest): Promise<Header> {
  if (leader === undefined) throw new RefusedError(GrpcCode.Unknown, NO_LEADER_KEY);
  await sessionLease(calls, leader.lease);
  return withdraw(calls, leader);
}

async function withdraw(calls: EtcdCalls, { key, rev }: LeaderKey): Promise<Header> {
  const { header } = await calls.txn({
    compare: [createdAt(key, rev)],
    success: [{ request: { case: 'requestDeleteRange', value: { key } } }],
  });
  return header;
}

/** Who leads now; fails when nobody does. */
export async function leader(calls: EtcdCalls, name: Uint8Array): Promise<Leadership> {
  const now = await leaderNow(calls, prefixOf(name));
  if (now.kv === undefined) throw new RefusedError(GrpcCode.Unknown, NO_LEADER);
  return { header: now.header, kv: now.kv };
}

async function leaderNow(
  calls: EtcdCalls,
  prefix: KeyPrefix,
): Promise<Partial<Leadership> & { header: Header }> {
  const { header, kvs } = await calls.range(firstCreated(prefix));
  return { header, ...(kvs[0] !== undefined && { kv: kvs[0] }) };
}

/** Who leads, as soon as somebody does, and then everything that leaders say, in order. It ends only by a rejection. */
export async function* observe(
  calls: EtcdCalls,
  name: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<Leadership, never> {
  const prefix = prefixOf(name);
  for (;;) {
    signal.throwIfAborted();
    const { header, kv } = await leaderNow(calls, prefix);
    const found = kv === undefined ? await firstPut(calls, prefix, header!.revision, signal) : { header, kv };
    yield found;
    yield* sayings(calls, found, signal);
  }
}

/** Waits for the first put under the prefix from `startRevision` on. */
async function firstPut(
  calls: EtcdCalls,
  prefix: KeyPrefix,
  startRevision: bigint,
  signal: AbortSignal,
): Promise<Leadership> {
  const watch = calls.watch({ ...prefix, startRevision }, signal);
  try {
    for (;;) {
      const { header, events } = await watch.next();
      const kv = events.find(({ type }) => type === Event_EventType.PUT)?.kv;
      // The response may hold later events too: what is said here is known as of the put.
      if (kv !== undefined) return { header: header && { ...header, revision: kv.modRevision }, kv };
    }
  } finally {
    watch.close();
  }
}

/** What one leader says after `found`, until its key is deleted. */
async function* sayings(
  calls: EtcdCalls,
  found: Leadership,
  signal: AbortSignal,
): AsyncGenerator<Leadership> {
  const startRevision = found.header!.revision + 1n;
  const watch = calls.watch({ key: found.kv.key, startRevision }, signal);
  try {
    for (;;) {
      const { header, events } = await watch.next();
      for (const { type, kv } of events) {
        if (type === Event_EventType.DELETE) return;
        yield { header, kv: kv! };
      }
    }
  } finally {
    watch.close();
  }
}
