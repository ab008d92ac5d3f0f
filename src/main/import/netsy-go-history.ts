import { bytesKey, NO_BYTES } from '../../shared/base/bytes.ts';
import { type LogRecord, Operation } from '../../shared/model/record.ts';

/** What is wrong with a record, after the name of its object. */
export class HistoryError extends Error {
  override name = 'HistoryError';
}

interface KeyState {
  readonly revision: number;
  readonly createRevision: number;
  /** 0: it is deleted. */
  readonly version: number;
  /** Its value is gone. */
  readonly compacted: boolean;
}

/**
 * Follows the history of Netsy for Go, where each revision is one record, and says where it contradicts itself.
 * Holds every key that ever was, without values.
 *
 * A compaction there takes values away and leaves the records, and does not say up to where. What is needed here is
 * a revision from which on nothing is missing: the last one at which a record without a value was replaced.
 */
export class GoHistory {
  /** The last record's; 0 before the first. */
  revision = 0;
  /** Undefined if nothing was compacted. */
  compactRevision: number | undefined;
  /** Puts that name a lease. */
  leased = 0;
  readonly #keys = new Map<string, KeyState>();

  /** Takes the next record. Throws HistoryError. */
  take(record: LogRecord): void {
    const { revision, key } = record;
    if (record.operation !== Operation.KeyValue) throw new HistoryError('is no put and no delete');
    if (revision !== this.revision + 1) {
      const before = this.revision === 0 ? 'nothing' : `revision ${this.revision}`;
      throw new HistoryError(`is revision ${revision}, and before it is ${before}: records are missing`);
    }
    if (key.length === 0) throw new HistoryError(`is revision ${revision} and has no key`);
    const name = bytesKey(key);
    const before = this.#keys.get(name);
    this.#check(record, before);
    if (before?.compacted === true) this.compactRevision = Math.max(this.compactRevision ?? 0, revision);
    const { createRevision, version, deleted, compacted = false, lease } = record;
    if (lease !== 0n && !deleted) this.leased++;
    this.#keys.set(name, {
      revision,
      createRevision,
      version: deleted ? 0 : version,
      compacted: compacted && !deleted,
    });
    this.revision = revision;
  }

  /** After the last record. Throws HistoryError. */
  end(): void {
    for (const [key, { compacted, revision }] of this.#keys) {
      if (!compacted) continue;
      const name = JSON.stringify(Buffer.from(key, 'latin1').toString());
      throw new HistoryError(`is revision ${revision} of ${name}, is compacted, and nothing has replaced it`);
    }
  }

  #check(record: LogRecord, before: KeyState | undefined): void {
    const { revision, created, deleted, createRevision, prevRevision, version } = record;
    const lives = before !== undefined && before.version > 0;
    const expect = (what: string, expected: number | boolean, found: number | boolean): void => {
      if (expected === found) return;
      throw new HistoryError(`is revision ${revision} and has ${what} ${found}, which must be ${expected}`);
    };
    if (deleted) {
      if (!lives) throw new HistoryError(`is revision ${revision} and deletes a key that does not exist`);
      return expect('prev_revision', before.revision, prevRevision);
    }
    expect('created', !lives, created);
    expect('create_revision', lives ? before.createRevision : revision, createRevision);
    expect('version', lives ? before.version + 1 : 1, version);
    if (lives) expect('prev_revision', before.revision, prevRevision);
  }
}

/** The record as this server would have written it; undefined for one whose value is gone. */
export function ownRecord(record: LogRecord): LogRecord | undefined {
  const { compacted, ...own } = record;
  // A log that is imported has no previous revisions.
  const common = { ...own, prevRevision: 0 };
  if (record.deleted) return { ...common, createRevision: 0, version: 0, lease: 0n, value: NO_BYTES };
  return compacted === true ? undefined : common;
}
