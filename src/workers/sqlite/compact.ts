import type { Statement } from 'better-sqlite3';
import type { Applier } from './apply.ts';
import type { CachePosition, Connection } from './database.ts';

/** Rows looked at per slice: a few milliseconds, so that a write never waits long behind one. */
const SLICE_ROWS = 500;

type Row = { id: number; revision: number; previous_id: number; deleted: number };

/** What a slice leaves: where the next one starts, and the position when it was the last. */
interface Slice {
  cursor: { revision: number; id: number };
  finished: CachePosition | undefined;
  removed: number;
}

/**
 * Removes the history rows that a compaction made unreachable, in small slices between writes. What stays
 * of a key is its newest record at or below the compaction revision; a tombstone stays only at exactly that
 * revision (as etcd keeps it, so that a watch from there sees the delete) and goes with the next compaction.
 *
 * A record at or below the compaction revision makes the one before it unreachable, so each slice only
 * follows `previous_id` of the records between the last compaction and this one.
 */
export class Compactor {
  readonly #applier: Applier;
  readonly #select: Statement;
  readonly #delete: Statement;
  readonly #slice: () => Slice;
  /** The compaction being carried out. One that comes meanwhile waits for it to end. */
  #target = -1;
  /** Where the next slice starts: the row after the last one looked at. */
  #cursor = { revision: -1, id: -1 };
  /** Rows that are gone, since the start. */
  removedRows = 0;

  constructor(connection: Connection, applier: Applier) {
    this.#applier = applier;
    this.#select = connection.prepare(
      `SELECT id, revision, previous_id, deleted FROM history
       WHERE (revision, id) > (?, ?) AND revision <= ? ORDER BY revision, id LIMIT ${SLICE_ROWS}`,
    );
    this.#delete = connection.prepare('DELETE FROM history WHERE id = ?');
    this.#slice = connection.transaction(() => this.#removeSlice());
  }

  /** True while rows wait to be removed. */
  get pending(): boolean {
    const { compactedRevision, compactRevision } = this.#applier.position;
    return compactedRevision < compactRevision;
  }

  /** Removes one slice; answers true when a compaction is finished. */
  step(): boolean {
    const { compactedRevision, compactRevision } = this.#applier.position;
    if (this.#target <= compactedRevision) {
      this.#target = compactRevision;
      // Rows of the last compaction's own revision are looked at again: its tombstones may go now.
      this.#cursor = { revision: compactedRevision, id: -1 };
    }
    // Taken over only now that it is committed: a full disk refuses the commit, and the rows stay.
    const { cursor, finished, removed } = this.#slice();
    this.#cursor = cursor;
    this.removedRows += removed;
    if (finished !== undefined) this.#applier.position = finished;
    return finished !== undefined;
  }

  #removeSlice(): Slice {
    const target = this.#target;
    const rows = this.#select.all(this.#cursor.revision, this.#cursor.id, target) as Row[];
    let removed = 0;
    const remove = (id: number): void => {
      removed += this.#delete.run(id).changes;
    };
    for (const row of rows) {
      if (row.previous_id !== 0) remove(row.previous_id);
      if (row.deleted === 1 && row.revision < target) remove(row.id);
    }
    const last = rows[rows.length - 1];
    const cursor = last === undefined ? this.#cursor : { revision: last.revision, id: last.id };
    const finished = rows.length === SLICE_ROWS ? undefined : this.#applier.storeCompacted(target);
    return { cursor, finished, removed };
  }
}
