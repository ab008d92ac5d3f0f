import type { Statement } from 'better-sqlite3';
import { bytesKey } from '../../shared/base/bytes.ts';
import { isSingleKey, rangeContains } from '../../shared/model/key-range.ts';
import { EventWriter } from '../contract/events.ts';
import type { ReplayReply, ReplayRequest } from '../contract/reader.ts';
import type { Connection } from './database.ts';
import { type HistoryChange, Past } from './past.ts';
import type { RowView } from './rows.ts';

/** Rows looked at per replay step, so that a narrow watch over a long history yields to other reads. */
const SCAN_ROWS = 4000;

const COLUMNS = 'id, revision, sub, previous_id, deleted, key';

/** Reads watch events out of the history, in bounded steps of whole revisions. */
export class Replayer {
  readonly #rows: RowView;
  readonly #scan: Statement;
  readonly #revisionRows: Statement;
  readonly #past: Past;

  constructor(connection: Connection, rows: RowView) {
    this.#rows = rows;
    this.#scan = connection.prepare(
      `SELECT ${COLUMNS} FROM history WHERE revision >= ? ORDER BY revision, id LIMIT ${SCAN_ROWS}`,
    );
    this.#revisionRows = connection.prepare(`SELECT ${COLUMNS} FROM history WHERE revision = ? ORDER BY id`);
    this.#past = new Past(connection);
  }

  /** One step, from the snapshot that `rows` was refreshed in. */
  replay(request: ReplayRequest): ReplayReply {
    const { revision: newest } = this.#rows;
    const compactRevision = Math.max(this.#rows.compactRevision, request.compactRevision);
    if (request.fromRevision < compactRevision) return { kind: 'compacted', compactRevision };
    const { rows, covered, exhausted } = this.#wholeRevisions(request);
    const events = new EventWriter();
    const kept = lastOfKeys(rows, compactRevision);
    let done = exhausted ? newest : covered;
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index]!;
      const newRevision = index > 0 && rows[index - 1]!.revision !== row.revision;
      if (newRevision && events.length >= request.bytesMax) {
        done = row.revision - 1;
        break;
      }
      if (!rangeContains(request, row.key)) continue;
      const compacted = row.revision === compactRevision;
      if (compacted && !kept.has(row)) continue;
      this.#addEvent(events, row, request.prevKv && !compacted);
    }
    return { kind: 'events', events: events.finish(), coveredRevision: done, complete: done === newest };
  }

  /** The next rows from the start revision, the last revision among them whole. */
  #wholeRevisions(request: ReplayRequest): { rows: HistoryChange[]; covered: number; exhausted: boolean } {
    const { rows, all } = this.#rowsFrom(request);
    if (all) return { rows, covered: 0, exhausted: true };
    const last = rows[rows.length - 1]!.revision;
    let end = rows.length;
    while (end > 0 && rows[end - 1]!.revision === last) end--;
    if (end > 0) return { rows: rows.slice(0, end), covered: last - 1, exhausted: false };
    // One revision alone fills the step: take it whole.
    return { rows: this.#revisionRows.all(last) as HistoryChange[], covered: last, exhausted: false };
  }

  /** The rows of the range from the start revision on, and others; not always all of them. */
  #rowsFrom({ key, rangeEnd, fromRevision }: ReplayRequest): { rows: HistoryChange[]; all: boolean } {
    if (isSingleKey({ key, rangeEnd })) {
      return this.#past.changesOf(key, this.#past.placeOf(fromRevision - 1).endId, SCAN_ROWS);
    }
    const rows = this.#scan.all(fromRevision) as HistoryChange[];
    return { rows, all: rows.length < SCAN_ROWS };
  }

  #addEvent(events: EventWriter, row: HistoryChange, prevKv: boolean): void {
    const kv = this.#rows.kvOfRow(row.id);
    const previous = prevKv ? this.#previousKv(row) : undefined;
    const deleted = row.deleted === 1;
    const { revision, sub, key } = row;
    events.add({ revision, sub, key, deleted }, kv, previous);
  }

  /** The KeyValue before the row's revision: what its own transaction did to the key does not count. */
  #previousKv({ id, revision, sub, previous_id, key }: HistoryChange): Uint8Array | undefined {
    if (previous_id === 0) return undefined;
    const firstOfRevision = id - sub;
    if (previous_id < firstOfRevision) return this.#rows.kvOfRow(previous_id);
    return this.#past.get(key, { revision: revision - 1, endId: firstOfRevision })?.kv;
  }
}

/** The last row of each key at `revision`: what a compaction there leaves of it. */
function lastOfKeys(rows: readonly HistoryChange[], revision: number): Set<HistoryChange> {
  const last = new Map<string, HistoryChange>();
  for (const row of rows) if (row.revision === revision) last.set(bytesKey(row.key), row);
  return new Set(last.values());
}
