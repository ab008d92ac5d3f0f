import { statSync } from 'node:fs';
import { bytesInt64, NO_BYTES } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import { FileEncoder } from '../../shared/format/encode.ts';
import { FileCompression, type FileHeader, FileKind, SCHEMA_VERSION } from '../../shared/format/file.ts';
import { SNAPSHOT_PIECE_BYTES } from '../../shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord, systemRecord } from '../../shared/model/record.ts';
import type { LogBeginning, LogSnapshotData } from '../contract/log-snapshot.ts';
import { type CachePosition, type Connection, openToRead, PositionTable } from './database.ts';

/**
 * While a snapshot is read, SQLite's write-ahead log grows by all that is written. One that takes so long that the log
 * gets larger than this, and than the database, is given up, and begun anew later.
 */
const WAL_BYTES_MAX = 1024 * 1024 * 1024;

type HistoryRow = [
  id: number,
  revision: number,
  sub: number,
  previousId: number,
  previousRevision: number | null,
  deleted: number,
  kv: Buffer,
];

/**
 * The cache's rows as a snapshot's records, from one read transaction and so of one place in the log: puts and
 * deletes in the log's order, then leases, then system entries. A row's id is its record's ordinal, because rows
 * are numbered as their records are applied, by the log alone.
 *
 * When records were made is not in the cache: their `created_at` is the start of time.
 */
export class SnapshotSource {
  readonly position: CachePosition;
  readonly records: number;
  recordsTaken = 0;
  readonly #cacheFile: string;
  readonly #connection: Connection;
  /** Records that the cache does not have: one if the revision is bumped. */
  readonly #bumps: number;
  readonly #encoder: FileEncoder;
  readonly #all: Generator<LogRecord>;
  #isHeaderTaken = false;
  /** The footer's CRC, once all is taken. */
  crc: bigint | undefined;

  constructor(data: LogSnapshotData) {
    this.#cacheFile = data.cacheFile;
    this.#connection = openToRead(data.cacheFile);
    this.#connection.exec('BEGIN');
    const cached = new PositionTable(this.#connection).read();
    this.position = positionOf(cached, data.beginning);
    this.#bumps = this.position.nextHistoryId - cached.nextHistoryId;
    this.records = this.#count('history') + this.#bumps + this.#count('leases') + this.#count('system');
    this.#encoder = new FileEncoder(headerOf(data, this.position, this.records));
    this.#all = this.#everyRecord();
  }

  /**
   * The header first, then pieces of whole records, then the footer by itself; undefined after that. Throws when it
   * must not go on.
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    if (this.crc !== undefined) return undefined;
    checkWal(this.#cacheFile);
    if (!this.#isHeaderTaken) {
      this.#isHeaderTaken = true;
      return this.#encoder.take();
    }
    while (this.#encoder.pendingBytes < SNAPSHOT_PIECE_BYTES) {
      const next = this.#all.next();
      if (next.done === true) break;
      this.#encoder.add(next.value);
      this.recordsTaken++;
    }
    if (this.#encoder.pendingBytes > 0) return this.#encoder.take();
    this.crc = this.#encoder.end().crc;
    return this.#encoder.take();
  }

  close(): void {
    this.#all.return(undefined);
    this.#connection.close();
  }

  #count(table: string): number {
    return this.#connection.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
  }

  *#everyRecord(): Generator<LogRecord> {
    const history = this.#connection
      .prepare(
        `SELECT history.id, history.revision, history.sub, history.previous_id, previous.revision,
                history.deleted, history.kv
         FROM history LEFT JOIN history AS previous ON previous.id = history.previous_id ORDER BY history.id`,
      )
      .raw();
    for (const row of history.iterate() as Iterable<HistoryRow>) yield recordOf(row);
    if (this.#bumps > 0) yield bumpRecord(this.position);
    const leases = this.#connection.prepare('SELECT id, ttl_seconds FROM leases ORDER BY id').raw();
    for (const [id, ttl] of leases.iterate() as Iterable<[Buffer, number]>) {
      const grant = operationRecord(Operation.LeaseGrant, 0);
      yield { ...grant, lease: bytesInt64(id), leaseTtlSeconds: ttl };
    }
    const system = this.#connection.prepare('SELECT name, value FROM system ORDER BY name').raw();
    for (const [name, value] of system.iterate() as Iterable<[string, Buffer]>) {
      yield systemRecord({ name, value }, 0);
    }
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

/** Throws if the write-ahead log has grown too large for the snapshot to go on. */
function checkWal(cacheFile: string): void {
  const [wal, database] = [statSync(`${cacheFile}-wal`, { throwIfNoEntry: false }), statSync(cacheFile)];
  if (wal === undefined || wal.size <= Math.max(WAL_BYTES_MAX, database.size)) return;
  throw new Error(`${cacheFile}-wal has grown to ${wal.size} bytes while the snapshot was written`);
}
