import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { int64Bytes, NO_BYTES } from '../../shared/base/bytes.ts';
import {
  type ImportEnd,
  type LogRecord,
  Operation,
  type SystemChange,
  systemChange,
} from '../../shared/model/record.ts';
import { kvOfRecord } from '../contract/chunk-rows.ts';
import { type CachePosition, type Connection, PositionTable } from './database.ts';
import type { LoggedChange } from './evaluate.ts';
import { KeyBlocks } from './key-blocks.ts';
import { signpostOf } from './signposts.ts';

const CURRENT = 'current (key, id, mod_revision, create_revision, version, lease) VALUES (?, ?, ?, ?, ?, ?)';

/** One durable chunk, ready to be applied. */
export interface DurableChunk {
  sequence: number;
  crc: bigint;
  changes: LoggedChange[];
}

/** Sees a record, its KeyValue if it has one, and the history row of the state that it replaces (0 for none). */
export type ChangeObserver = (record: LogRecord, kv: Uint8Array, previousId: number) => void;

/**
 * Turns records into SQLite rows (invariant 4): the same code on the primary, in recovery, in a standby and
 * in a replica. Deterministic: no clock, no random number, nothing but the records and the rows.
 *
 * Invariants: chunks come in sequence order; a KeyValue record has the store's next revision, or the same
 * revision as the record before it. Before the first epoch, where an import stands, compaction may have left gaps:
 * there revisions only rise, and the chunk that ends the import says how many records it was.
 */
export class Applier {
  position: CachePosition;
  /** Told of every record before its rows are written, while `apply` runs; a standby makes events of them. */
  observer: ChangeObserver | undefined;
  readonly #positions: PositionTable;
  readonly #blocks: KeyBlocks;
  /** Of the last record; known from the first record of an import on. */
  #lastSub: number;
  readonly #rowOfKey: Statement;
  readonly #leaseCount: Statement;
  readonly #insertHistory: Statement;
  readonly #insertCurrent: Statement;
  readonly #upsertCurrent: Statement;
  readonly #deleteCurrent: Statement;
  readonly #insertLease: Statement;
  readonly #deleteLease: Statement;
  readonly #upsertSystem: Statement;
  readonly #deleteSystem: Statement;
  readonly #transaction: (chunks: readonly DurableChunk[]) => CachePosition;

  constructor(connection: Connection) {
    this.#positions = new PositionTable(connection);
    this.#blocks = new KeyBlocks(connection);
    this.position = this.#positions.read();
    const lastSub = connection.prepare('SELECT sub FROM history ORDER BY id DESC LIMIT 1').pluck();
    this.#lastSub = (lastSub.get() as number | undefined) ?? 0;
    this.#leaseCount = connection.prepare('SELECT count(*) FROM leases').pluck();
    this.#rowOfKey = connection.prepare('SELECT id FROM current WHERE key = ?').pluck();
    this.#insertHistory = connection.prepare(
      `INSERT INTO history (id, revision, sub, previous_id, deleted, signpost, key, kv)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#insertCurrent = connection.prepare(`INSERT INTO ${CURRENT}`);
    this.#upsertCurrent = connection.prepare(`INSERT OR REPLACE INTO ${CURRENT}`);
    this.#deleteCurrent = connection.prepare('DELETE FROM current WHERE key = ?');
    this.#insertLease = connection.prepare('INSERT INTO leases (id, ttl_seconds) VALUES (?, ?)');
    this.#deleteLease = connection.prepare('DELETE FROM leases WHERE id = ?');
    this.#upsertSystem = connection.prepare('INSERT OR REPLACE INTO system (name, value) VALUES (?, ?)');
    this.#deleteSystem = connection.prepare('DELETE FROM system WHERE name = ?');
    this.#transaction = connection.transaction((chunks) => this.#applyAll(chunks));
  }

  /** Applies chunks in one SQLite transaction. When it throws, nothing has changed. */
  apply(chunks: readonly DurableChunk[]): void {
    this.position = this.#transaction(chunks);
  }

  /**
   * Stores how far row removal has come; part of the caller's transaction. Answers the `position` that the
   * caller sets once that is committed.
   */
  storeCompacted(revision: number): CachePosition {
    const position = { ...this.position, compactedRevision: revision };
    this.#positions.write(position);
    return position;
  }

  #applyAll(chunks: readonly DurableChunk[]): CachePosition {
    const position = { ...this.position };
    this.#blocks.begin();
    for (const chunk of chunks) {
      assert(
        chunk.sequence === position.nextSequence,
        `chunk ${chunk.sequence} can't be applied where ${position.nextSequence} is next`,
      );
      position.sequence = chunk.sequence;
      position.chunkCrc = chunk.crc;
      position.nextSequence = chunk.sequence + 1;
      if (position.epoch === 0) checkFirstEpoch(chunk);
      for (const change of chunk.changes) this.#applyChange(position, change);
    }
    this.#blocks.end();
    this.#positions.write(position);
    return position;
  }

  #applyChange(position: CachePosition, change: LoggedChange): void {
    const { record } = change;
    if (record.operation !== Operation.KeyValue) this.observer?.(record, NO_BYTES, 0);
    switch (record.operation) {
      case Operation.KeyValue:
        return this.#applyKeyValue(position, record, change.kv ?? kvOfRecord(record));
      case Operation.LeaseGrant:
        this.#insertLease.run(int64Bytes(record.lease), required(record.leaseTtlSeconds));
        return;
      case Operation.LeaseRevoke:
        this.#deleteLease.run(int64Bytes(record.lease));
        return;
      case Operation.Compaction:
        position.compactRevision = required(record.compactRevision);
        return;
      case Operation.Epoch: {
        const claim = required(record.epoch);
        assert(claim.epoch > position.epoch, `epoch ${claim.epoch} does not follow ${position.epoch}`);
        position.epoch = claim.epoch;
        position.clusterId = claim.clusterId;
        position.nextSequence = claim.skipTo;
        return;
      }
      case Operation.ImportEnd:
        return this.#endImport(position, required(record.importEnd));
      case Operation.System:
        this.#applySystem(systemChange(record));
        return;
      case Operation.Origin:
        // What it stands for is in a snapshot, and whoever has that never reads this chunk.
        throw new Error(
          'the store holds a restore or fork that did not end, or has lost the snapshot that it begins with; ' +
            'run it again with the same --into, or empty the store',
        );
    }
  }

  #endImport(position: CachePosition, { revision, records, leases }: ImportEnd): void {
    assert(position.epoch === 0, 'an import ends in the middle of a log');
    const found = { records: position.nextHistoryId - 1, leases: this.#leaseCount.get() as number };
    assert(
      found.records === records && found.leases === leases && revision >= position.revision,
      `the import has ${found.records} records, ${found.leases} leases and revision ${position.revision} ` +
        `instead of ${records}, ${leases} and ${revision}`,
    );
    assert(revision >= position.compactRevision, `the import is compacted beyond its revision ${revision}`);
    position.revision = revision;
  }

  #applySystem({ name, value }: SystemChange): void {
    if (value === undefined) this.#deleteSystem.run(name);
    else this.#upsertSystem.run(name, value);
  }

  #applyKeyValue(position: CachePosition, record: LogRecord, kv: Uint8Array): void {
    const { revision, sub, key } = record;
    const isImported = position.epoch === 0;
    assert(
      revision === position.revision + 1 ||
        (revision === position.revision && sub > (isImported ? this.#lastSub : 0)) ||
        (isImported && (revision > position.revision || position.nextHistoryId === 1)),
      `record of revision ${revision}.${sub} can't follow revision ${position.revision}`,
    );
    position.revision = revision;
    this.#lastSub = sub;
    const id = position.nextHistoryId++;
    let previousId = record.created ? 0 : (this.#rowOfKey.get(key) as number | undefined);
    // What an imported record replaced may have been compacted before.
    if (isImported) previousId ??= 0;
    assert(previousId !== undefined, `revision ${revision}.${sub} changes a key that does not exist`);
    this.observer?.(record, kv, previousId);
    const deleted = record.deleted ? 1 : 0;
    this.#insertHistory.run(id, revision, sub, previousId, deleted, signpostOf(record), key, kv);
    if (record.deleted) {
      const { changes } = this.#deleteCurrent.run(key);
      if (changes > 0) this.#blocks.died(key);
    } else {
      // An import may have lost the delete between two creates.
      const lived = record.created ? isImported && this.#rowOfKey.get(key) !== undefined : previousId !== 0;
      if (!lived) this.#blocks.born(key);
      const lease = record.lease === 0n ? null : int64Bytes(record.lease);
      const store = lived ? this.#upsertCurrent : this.#insertCurrent;
      store.run(key, id, revision, record.createRevision, record.version, lease);
    }
  }
}

/**
 * Without an import the first chunk of a log is an epoch's. With one, the first epoch comes with the import's end, so
 * that an import that stopped halfway is never taken for a log.
 */
function checkFirstEpoch({ sequence, changes }: DurableChunk): void {
  const has = (operation: Operation): boolean => changes.some(({ record }) => record.operation === operation);
  const ends = has(Operation.ImportEnd);
  assert(!ends || has(Operation.Epoch), `chunk ${sequence} ends an import without an epoch`);
  assert(
    ends || sequence === 1 || !has(Operation.Epoch),
    `chunk ${sequence} has the first epoch of a log that has records before it`,
  );
}

function required<T>(value: T | undefined): T {
  assert(value !== undefined, 'a log operation lacks its fields');
  return value;
}
