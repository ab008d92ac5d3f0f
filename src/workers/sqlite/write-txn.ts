import { assert } from '../../shared/base/assert.ts';
import { NO_BYTES } from '../../shared/base/bytes.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { eventSizes, keyValueBytes } from '../../shared/etcd/responses.ts';
import type { KeyRange } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import { RECORD_BYTES_MAX } from '../../shared/model/limits.ts';
import { type LogRecord, Operation } from '../../shared/model/record.ts';
import { noOperations } from './operations.ts';
import type { OverlayView, PendingChange } from './overlay.ts';

/** A change of one transaction, and what its event gives watchers as prev_kv. */
export interface WrittenChange extends PendingChange {
  prevKv: Uint8Array | undefined;
}

/**
 * One writing transaction: all its records have the next revision and differ in `sub`. Its changes are in
 * the overlay at once, so that its own later reads see them.
 */
export class WriteTxn {
  readonly changes: WrittenChange[] = [];
  readonly operations = noOperations();
  readonly #view: OverlayView;
  readonly #revision: number;
  readonly #createdAtMs: number;
  #bytes = 0;

  constructor(view: OverlayView, createdAtMs: number) {
    this.#view = view;
    this.#revision = view.revision + 1;
    this.#createdAtMs = createdAtMs;
  }

  /** The store's revision as this transaction would leave it now. */
  get revision(): number {
    return this.#view.revision;
  }

  /** Writes a key; answers the state before it. */
  put(key: Uint8Array, value: Uint8Array, lease: bigint): KeyState | undefined {
    this.operations.puts++;
    this.operations.putBytes += key.length + value.length;
    const before = this.#view.get(key);
    const record = this.#record(key, before);
    record.created = before === undefined;
    record.createRevision = before?.createRevision ?? this.#revision;
    record.version = (before?.version ?? 0) + 1;
    record.lease = lease;
    record.value = value;
    const { createRevision, version } = record;
    const kv = keyValueBytes({ key, createRevision, modRevision: this.#revision, version, value, lease });
    this.#write(record, kv, before);
    return before;
  }

  /** Deletes the living keys of a range, in key order; answers their states. */
  deleteRange(range: KeyRange): KeyState[] {
    this.operations.deletes++;
    const states = this.#view.list(range, this.#view.revision, 0);
    for (const state of states) this.#deleteKey(state);
    return states;
  }

  /** Deletes one living key. */
  deleteKey(before: KeyState): void {
    this.operations.deletes++;
    this.#deleteKey(before);
  }

  #deleteKey(before: KeyState): void {
    const record = this.#record(before.key, before);
    record.deleted = true;
    // A delete event carries the key and the revision of the delete, nothing else.
    const kv = keyValueBytes({
      key: before.key,
      createRevision: 0,
      modRevision: this.#revision,
      version: 0,
      value: NO_BYTES,
      lease: 0n,
    });
    this.#write(record, kv, before);
  }

  #record(key: Uint8Array, before: KeyState | undefined): LogRecord {
    return {
      operation: Operation.KeyValue,
      revision: this.#revision,
      sub: this.changes.length,
      key,
      created: false,
      deleted: false,
      createRevision: 0,
      prevRevision: before?.modRevision ?? 0,
      version: 0,
      lease: 0n,
      value: NO_BYTES,
      createdAtMs: this.#createdAtMs,
    };
  }

  #write(record: LogRecord, kv: Uint8Array, before: KeyState | undefined): void {
    const prevKv = this.#prevKv(before);
    assert(record.revision === this.#revision, 'a transaction has one revision');
    // A deleted range is as large as its values, which its events carry: more than this no buffer should hold.
    this.#bytes += kv.length + eventSizes(record.deleted, kv, prevKv).whole;
    if (this.#bytes > RECORD_BYTES_MAX) throw new EtcdError('RequestTooLarge');
    const change = { record, kv, prevKv };
    this.changes.push(change);
    this.#view.add(change);
  }

  /** An event's prev_kv is from before the transaction, as in etcd: what it did to the key itself does not count. */
  #prevKv(before: KeyState | undefined): Uint8Array | undefined {
    if (before === undefined || before.modRevision < this.#revision) return before && this.#view.kv(before);
    const [state] = this.#view.list({ key: before.key, rangeEnd: NO_BYTES }, this.#revision - 1, 1);
    return state && this.#view.kv(state);
  }
}
