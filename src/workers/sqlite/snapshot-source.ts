import type { Statement } from 'better-sqlite3';
import { bytesInt64, NO_BYTES } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import { FileEncoder } from '../../shared/format/encode.ts';
import { FileCompression, type FileHeader, FileKind, SCHEMA_VERSION } from '../../shared/format/file.ts';
import { SNAPSHOT_PIECE_BYTES } from '../../shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord, systemRecord } from '../../shared/model/record.ts';
import type { LogBeginning, LogSnapshotData } from '../contract/log-snapshot.ts';
import { type CachePosition, type Connection, openToRead, PositionTable } from './database.ts';

type HistoryRow = [
  id: number,
  revision: number,
  sub: number,
  previousId: number,
  previousRevision: number | null,
  deleted: number,
  kv: Buffer,
];

const HISTORY = `
  SELECT history.id, history.revision, history.sub, history.previous_id, previous.revision, history.deleted, history.kv
  FROM history LEFT JOIN history AS previous ON previous.id = history.previous_id
  WHERE history.id > ? AND history.id < ? ORDER BY history.id`;

/**
 * The cache's rows as a snapshot's records, of one place in the log: puts and deletes in the log's order, then leases,
 * then system entries. A row's id is its record's ordinal, because rows are numbered as their records are applied, by
 * the log alone.
 *
 * Of a cache that is written meanwhile no read transaction lasts longer than a piece, since SQLite's write-ahead log
 * can't start anew while one is open: history rows of the place only ever go by compaction, which whoever asks for a
 * snapshot holds back. If it went on all the same, records would be missing, and the encoder refuses to end.
 *
 * When records were made is not in the cache: their `created_at` is the start of time.
 */
export class SnapshotSource {
  readonly position: CachePosition;
  readonly records: number;
  recordsTaken = 0;
  readonly #connection: Connection;
  /** Records that the cache does not have: one if the revision is bumped. */
  readonly #bumps: number;
  readonly #encoder: FileEncoder;
  readonly #history: Statement;
  /** The id of the last history row that was taken. */
  #takenId = 0;
  readonly #endId: number;
  /** What comes after the history. */
  readonly #rest: Iterator<LogRecord>;
  #isHeaderTaken = false;
  /** The footer's CRC, once all is taken. */
  crc: bigint | undefined;

  constructor(data: LogSnapshotData) {
    this.#connection = openToRead(data.cacheFile);
    this.#connection.exec('BEGIN');
    const cached = new PositionTable(this.#connection).read();
    this.position = positionOf(cached, data.beginning);
    this.#bumps = this.position.nextHistoryId - cached.nextHistoryId;
    this.#endId = cached.nextHistoryId;
    const rest = [...this.#bumpRecords(), ...this.#leaseRecords(), ...this.#systemRecords()];
    const rows = this.#connection.prepare('SELECT count(*) FROM history').pluck().get() as number;
    this.#connection.exec('COMMIT');
    this.#history = this.#connection.prepare(HISTORY).raw();
    this.#rest = rest.values();
    this.records = rows + rest.length;
    this.#encoder = new FileEncoder(headerOf(data, this.position, this.records));
  }

  /** The header first, then pieces of whole records, then the footer by itself; undefined after that. */
  next(): Uint8Array<ArrayBuffer> | undefined {
    if (this.crc !== undefined) return undefined;
    if (!this.#isHeaderTaken) {
      this.#isHeaderTaken = true;
      return this.#encoder.take();
    }
    this.#addPiece();
    if (this.#encoder.pendingBytes > 0) return this.#encoder.take();
    this.crc = this.#encoder.end().crc;
    return this.#encoder.take();
  }

  close(): void {
    this.#connection.close();
  }

  #addPiece(): void {
    const rows = this.#history.iterate(this.#takenId, this.#endId) as Iterable<HistoryRow>;
    for (const row of rows) {
      this.#add(recordOf(row));
      this.#takenId = row[0];
      if (this.#encoder.pendingBytes >= SNAPSHOT_PIECE_BYTES) return;
    }
    while (this.#encoder.pendingBytes < SNAPSHOT_PIECE_BYTES) {
      const next = this.#rest.next();
      if (next.done === true) return;
      this.#add(next.value);
    }
  }

  #add(record: LogRecord): void {
    this.#encoder.add(record);
    this.recordsTaken++;
  }

  #bumpRecords(): LogRecord[] {
    return this.#bumps > 0 ? [bumpRecord(this.position)] : [];
  }

  #leaseRecords(): LogRecord[] {
    const leases = this.#connection.prepare('SELECT id, ttl_seconds FROM leases ORDER BY id').raw().all();
    return (leases as [Buffer, number][]).map(([id, leaseTtlSeconds]) => ({
      ...operationRecord(Operation.LeaseGrant, 0),
      lease: bytesInt64(id),
      leaseTtlSeconds,
    }));
  }

  #systemRecords(): LogRecord[] {
    const entries = this.#connection.prepare('SELECT name, value FROM system ORDER BY name').raw().all();
    return (entries as [string, Buffer][]).map(([name, value]) => systemRecord({ name, value }, 0));
  }
}

function positionOf(cached: CachePosition, beginning: LogBeginning | undefined): CachePosition {
  if (beginning === undefined) return cached;
  const { bumpRevision, ...place } = beginning;
  if (bumpRevision === 0) return { ...cached, ...place };
  const revision = cached.revision + bumpRevision;
  // The rows are still there; whoever serves from them removes what can't be reached.
  return {
    ...cached,
    ...place,
    revision,
    compactRevision: revision,
    nextHistoryId: cached.nextHistoryId + 1,
  };
}

/** What `etcdutl snapshot restore --bump-revision` leaves, too: a revision without a key. HashKV counts it. */
function bumpRecord({ revision, nextHistoryId }: CachePosition): LogRecord {
  const ordinal = nextHistoryId - 1;
  return { ...operationRecord(Operation.KeyValue, 0), revision, ordinal, previousOrdinal: 0 };
}

function headerOf(data: LogSnapshotData, position: CachePosition, recordsCount: number): FileHeader {
  const { sequence, epoch, chunkCrc, clusterId, nextSequence, revision } = position;
  const { compactRevision, compactedRevision, nextHistoryId } = position;
  return {
    schemaVersion: SCHEMA_VERSION,
    kind: FileKind.Snapshot,
    compression: FileCompression.Zstd,
    recordsCount,
    leaderId: data.nodeId,
    createdAtMs: data.createdAtMs,
    sequence,
    epoch,
    previousChunkCrc: chunkCrc,
    nonce: data.nonce,
    snapshot: {
      clusterId,
      nextSequence,
      revision,
      compactRevision,
      compactedRevision,
      nextOrdinal: nextHistoryId,
    },
  };
}

function recordOf([id, revision, sub, previousId, previousRevision, deleted, kv]: HistoryRow): LogRecord {
  const { key, createRevision, version, value, lease } = decodeKeyValue(kv);
  return {
    operation: Operation.KeyValue,
    revision,
    sub,
    key,
    created: version === 1,
    deleted: deleted === 1,
    createRevision,
    prevRevision: previousRevision ?? 0,
    version,
    lease,
    value: deleted === 1 ? NO_BYTES : value,
    createdAtMs: 0,
    ordinal: id,
    previousOrdinal: previousId,
  };
}
