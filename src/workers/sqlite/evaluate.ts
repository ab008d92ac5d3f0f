import {
  checkDeleteAllowed,
  checkLeaseAllowed,
  checkPutAllowed,
  checkTxnAllowed,
} from '../../shared/auth/requests.ts';
import { NOBODY } from '../../shared/auth/state.ts';
import { int64Bytes } from '../../shared/base/bytes.ts';
import { FrameReader, FrameWriter } from '../../shared/base/frames.ts';
import { encodeAlarmResponse } from '../../shared/etcd/alarm.ts';
import { encodeDowngradeResponse } from '../../shared/etcd/downgrade.ts';
import { EtcdError, etcdErrorId } from '../../shared/etcd/errors.ts';
import {
  decodeCompactionRequest,
  decodeDeleteRangeRequest,
  decodeLeaseGrantRequest,
  decodeLeaseRevokeRequest,
  decodePutRequest,
  decodeTxnRequest,
} from '../../shared/etcd/requests.ts';
import {
  encodeDeleteRangeResponse,
  encodeHeaderOnlyResponse,
  encodeLeaseGrantResponse,
  encodePutResponse,
  type HeaderEncoder,
} from '../../shared/etcd/responses.ts';
import { checkDeleteRange, checkPut, checkTxn } from '../../shared/etcd/validate.ts';
import { MalformedMessageError } from '../../shared/etcd/wire.ts';
import { LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN } from '../../shared/model/limits.ts';
import {
  type LogRecord,
  Operation,
  operationRecord,
  type SystemChange,
  systemRecord,
} from '../../shared/model/record.ts';
import { decodeCalledWrite } from '../contract/caller.ts';
import { EventWriter } from '../contract/events.ts';
import { type LeaseChange, type OperationCounts, REPLY_MALFORMED, WriteKind } from '../contract/writer.ts';
import { Alarms, costOfPut, costOfTxn, LEASE_COST } from './alarms.ts';
import { AuthEvaluator } from './auth.ts';
import { Downgrades } from './downgrade.ts';
import { noOperations } from './operations.ts';
import type { OverlayView, PendingChange } from './overlay.ts';
import {
  checkChosen,
  checkPutState,
  chooseBranches,
  executeDeleteRange,
  executePut,
  executeTxn,
} from './txn.ts';
import { WriteTxn } from './write-txn.ts';

/** What evaluating a batch gives. */
export interface EvaluatedBatch {
  /** In log order; a KeyValue record comes with its encoded KeyValue. */
  changes: LoggedChange[];
  replies: Uint8Array;
  events: Uint8Array;
  leases: LeaseChange[];
  system: SystemChange[];
  operations: OperationCounts;
}

/** A record of a chunk, and the encoded KeyValue of a put or delete if it was made already. */
export type LoggedChange = Omit<PendingChange, 'kv'> & { kv?: Uint8Array };

export interface EvaluatorOptions {
  raftTerm: number;
  maxTxnOps: number;
  memberId: bigint;
  /** 0: none. */
  quotaBytes: number;
  /** What the database takes, with what is not applied yet. */
  usedBytes(): number;
}

/**
 * Turns requests into records (invariant 4). Speculative: what it decides becomes true only when the chunk
 * is durable, and is in the overlay and in `leases` until then. Nothing here is ever taken back: a primary
 * whose chunk is lost to another writer ends.
 */
export class Evaluator {
  /** The server's own state, as of the last evaluated request. */
  readonly system: Map<string, Uint8Array>;
  /** TTL in seconds of every lease, as of the last evaluated request. */
  readonly leases: Map<bigint, number>;
  readonly #view: OverlayView;
  readonly #header: (revision: number) => Uint8Array;
  readonly #maxTxnOps: number;
  readonly #auth: AuthEvaluator;
  readonly #alarms: Alarms;
  readonly #downgrades: Downgrades;
  readonly #hasLease = (id: bigint): boolean => this.leases.has(id);
  readonly #leaseKeys = (id: bigint): Uint8Array[] =>
    this.leases.has(id) ? this.#view.leaseKeys(id, int64Bytes(id)) : [];
  #createdAtMs = 0;
  #changes: LoggedChange[] = [];
  #leaseChanges: LeaseChange[] = [];
  #systemChanges: SystemChange[] = [];
  readonly #events = new EventWriter();
  readonly #replies = new FrameWriter();
  #operations = noOperations();

  constructor(
    view: OverlayView,
    leases: Map<bigint, number>,
    system: Map<string, Uint8Array>,
    header: HeaderEncoder,
    options: EvaluatorOptions,
  ) {
    this.#view = view;
    this.leases = leases;
    this.system = system;
    this.#header = (revision) => header.encode(revision, options.raftTerm);
    this.#maxTxnOps = options.maxTxnOps;
    const change = (one: SystemChange): void => this.changeSystem(one);
    this.#auth = new AuthEvaluator(system, change);
    this.#alarms = new Alarms({ ...options, system, change });
    this.#downgrades = new Downgrades(system, change);
  }

  /**
   * Evaluates requests of a batch one after the other; a request that fails changes nothing and answers its error.
   * Answers what they changed, in log order.
   */
  evaluate(requests: Uint8Array, createdAtMs: number): readonly LoggedChange[] {
    this.#createdAtMs = createdAtMs;
    if (this.#replies.count === 0) this.#alarms.begin();
    const before = this.#changes.length;
    const frames = new FrameReader(requests);
    while (frames.next()) this.#answer(frames.tag as WriteKind, frames.payload);
    return this.#changes.slice(before);
  }

  /** Ends the batch: what its requests gave, all together. */
  finish(): EvaluatedBatch {
    const batch = {
      changes: this.#changes,
      replies: this.#replies.finish(),
      events: this.#events.finish(),
      leases: this.#leaseChanges,
      system: this.#systemChanges,
      operations: this.#operations,
    };
    this.#changes = [];
    this.#leaseChanges = [];
    this.#systemChanges = [];
    this.#operations = noOperations();
    return batch;
  }

  /** Logs a change of the server's own state, which the next request sees. */
  changeSystem(change: SystemChange): void {
    if (change.value === undefined) this.system.delete(change.name);
    else this.system.set(change.name, change.value);
    this.#auth.state.change(change);
    this.#systemChanges.push(change);
    this.#changes.push({ record: systemRecord(change, this.#createdAtMs) });
  }

  #answer(kind: WriteKind, request: Uint8Array): void {
    try {
      this.#replies.add(0, this.#execute(kind, request));
    } catch (error) {
      if (error instanceof EtcdError) this.#replies.add(etcdErrorId(error.kind), new Uint8Array(0));
      else if (error instanceof MalformedMessageError)
        this.#replies.add(REPLY_MALFORMED, Buffer.from(error.message));
      else throw error;
    }
  }

  #execute(kind: WriteKind, request: Uint8Array): Uint8Array {
    switch (kind) {
      case WriteKind.Txn:
        return this.#txn(request);
      case WriteKind.Put:
        return this.#put(request);
      case WriteKind.DeleteRange:
        return this.#deleteRange(request);
      case WriteKind.Compact:
        return this.#compact(request);
      case WriteKind.LeaseGrant:
        return this.#leaseGrant(request);
      case WriteKind.LeaseRevoke:
        return this.#leaseRevoke(request);
      case WriteKind.Alarm: {
        const alarms = this.#alarms.execute(request);
        return encodeAlarmResponse(this.#header(this.#view.revision), alarms);
      }
      case WriteKind.Downgrade: {
        const version = this.#downgrades.execute(request);
        return encodeDowngradeResponse(this.#header(this.#view.revision), version);
      }
      case WriteKind.As:
        return this.#executeAs(request);
      default:
        this.#auth.execute(kind, request);
        return encodeHeaderOnlyResponse(this.#header(this.#view.revision));
    }
  }

  /** Executes a write as its caller. Writes that name no caller are nobody's, which matters while auth is enabled. */
  #executeAs(payload: Uint8Array): Uint8Array {
    const { kind, info, request } = decodeCalledWrite(payload);
    this.#auth.caller = info;
    try {
      return this.#execute(kind, request);
    } finally {
      this.#auth.caller = NOBODY;
    }
  }

  #txn(bytes: Uint8Array): Uint8Array {
    const request = decodeTxnRequest(bytes);
    if (this.#alarms.hasQuota) this.#alarms.admit(costOfTxn(request));
    checkTxn(request, this.#maxTxnOps);
    this.#alarms.checkTxn(request);
    const { state, caller } = this.#auth;
    if (state.enabled) checkTxnAllowed(state, caller, request, this.#leaseKeys);
    const chosen = chooseBranches(this.#view, request);
    checkChosen(this.#view, this.#hasLease, chosen);
    return this.#write((txn) => executeTxn(this.#view, txn, chosen, this.#header));
  }

  #put(bytes: Uint8Array): Uint8Array {
    const request = decodePutRequest(bytes);
    this.#alarms.admit(costOfPut(request));
    checkPut(request);
    this.#alarms.checkAddition();
    const { state, caller } = this.#auth;
    if (state.enabled) checkPutAllowed(state, caller, request, this.#leaseKeys);
    checkPutState(this.#view, this.#hasLease, request);
    return this.#write((txn) => {
      const prevKv = executePut(this.#view, txn, request);
      return encodePutResponse(this.#header(this.#view.revision), prevKv);
    });
  }

  #deleteRange(bytes: Uint8Array): Uint8Array {
    const request = decodeDeleteRangeRequest(bytes);
    checkDeleteRange(request);
    this.#alarms.checkWrite();
    const { state, caller } = this.#auth;
    if (state.enabled) checkDeleteAllowed(state, caller, request);
    return this.#write((txn) => {
      const { deleted, prevKvs } = executeDeleteRange(this.#view, txn, request);
      return encodeDeleteRangeResponse(this.#header(this.#view.revision), deleted, prevKvs);
    });
  }

  #compact(bytes: Uint8Array): Uint8Array {
    const { revision } = decodeCompactionRequest(bytes);
    this.#alarms.checkWrite();
    if (revision <= this.#view.compactRevision) throw new EtcdError('Compacted');
    if (revision > this.#view.revision) throw new EtcdError('FutureRev');
    this.#view.compactRevision = revision;
    this.#changes.push({
      record: { ...operationRecord(Operation.Compaction, this.#createdAtMs), compactRevision: revision },
    });
    return encodeHeaderOnlyResponse(this.#header(this.#view.revision));
  }

  #leaseGrant(bytes: Uint8Array): Uint8Array {
    const { id, ttl } = decodeLeaseGrantRequest(bytes);
    this.#alarms.admit(LEASE_COST);
    this.#alarms.checkAddition();
    if (id === 0n) throw new EtcdError('LeaseNotFound');
    if (ttl > LEASE_TTL_SECONDS_MAX) throw new EtcdError('LeaseTTLTooLarge');
    if (this.leases.has(id)) throw new EtcdError('LeaseExist');
    const ttlSeconds = Math.max(ttl, LEASE_TTL_SECONDS_MIN);
    this.leases.set(id, ttlSeconds);
    this.#leaseChanges.push({ id, ttlSeconds });
    const record = {
      ...operationRecord(Operation.LeaseGrant, this.#createdAtMs),
      lease: id,
      leaseTtlSeconds: ttlSeconds,
    };
    this.#changes.push({ record });
    return encodeLeaseGrantResponse(this.#header(this.#view.revision), id, ttlSeconds);
  }

  /** Deletes the attached keys in key order, in one revision, and then the lease. */
  #leaseRevoke(bytes: Uint8Array): Uint8Array {
    const { id } = decodeLeaseRevokeRequest(bytes);
    this.#alarms.checkWrite();
    const { state, caller } = this.#auth;
    if (state.enabled) checkLeaseAllowed(state, caller, this.#leaseKeys(id));
    if (!this.leases.has(id)) throw new EtcdError('LeaseNotFound');
    return this.#write(
      (txn) => {
        for (const key of this.#view.leaseKeys(id, int64Bytes(id))) {
          const state = this.#view.get(key);
          if (state !== undefined) txn.deleteKey(state);
        }
        this.leases.delete(id);
        this.#leaseChanges.push({ id, ttlSeconds: 0 });
        return encodeHeaderOnlyResponse(this.#header(this.#view.revision));
      },
      { ...operationRecord(Operation.LeaseRevoke, this.#createdAtMs), lease: id },
    );
  }

  #count({ puts, deletes, ranges, putBytes }: OperationCounts): void {
    const sum = this.#operations;
    sum.puts += puts;
    sum.deletes += deletes;
    sum.ranges += ranges;
    sum.putBytes += putBytes;
    if (puts + deletes + ranges > 1) sum.txns++;
  }

  /** Runs a transaction and logs its changes, then `last` if given. An error takes its changes back. */
  #write(run: (txn: WriteTxn) => Uint8Array, last?: LogRecord): Uint8Array {
    const txn = new WriteTxn(this.#view, this.#createdAtMs);
    try {
      const response = run(txn);
      this.#count(txn.operations);
      for (const { record, kv, prevKv } of txn.changes) {
        this.#changes.push({ record, kv });
        this.#events.add(record, kv, prevKv);
      }
      if (last !== undefined) this.#changes.push({ record: last });
      return response;
    } catch (error) {
      this.#view.undo(txn.changes);
      throw error;
    }
  }
}
