import { AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS } from '../../shared/auth/state.ts';
import { NO_BYTES } from '../../shared/base/bytes.ts';
import { type BoltEntry, BoltWriter } from '../../shared/bolt/writer.ts';
import { ALARM_PREFIX } from '../../shared/etcd/alarm.ts';
import {
  AuthEntry,
  confStateJson,
  DatabaseBucket,
  leaseBytes,
  MetaEntry,
  uint64Bytes,
} from '../../shared/etcd/database.ts';
import { revisionKey, tombstoneValue } from '../../shared/etcd/key-bucket.ts';
import { ETCD_FILE_STORAGE_VERSION } from '../../shared/model/version.ts';
import { type CachePosition, type Connection, PositionTable } from './database.ts';

type HistoryRow = [revision: number, sub: number, deleted: number, key: Buffer, kv: Buffer | null];

/** etcd's auth revision of a store that was never changed. */
const AUTH_REVISION_FIRST = 1;

/**
 * Writes what the cache holds as etcd's database file, from one read transaction and so of one revision. `write`
 * takes the file's pages; `between` is called before every entry and may throw to end it. Memory does not depend on
 * the number of keys. Gives the size of the file in bytes and its revision.
 */
export function writeEtcdDatabase(
  connection: Connection,
  memberId: bigint,
  write: (offset: number, pages: Uint8Array) => void,
  between: () => void,
): { bytes: number; revision: number } {
  connection.exec('BEGIN');
  try {
    const position = new PositionTable(connection).read();
    const file = new BoltWriter(write);
    const add = (name: string, entries: Iterable<BoltEntry>): void => {
      file.addBucket(name, minded(entries, between));
    };
    add(DatabaseBucket.Key, keyEntries(connection));
    add(DatabaseBucket.Lease, leaseEntries(connection));
    add(DatabaseBucket.Meta, metaEntries(position, memberId));
    // A restore names new members; one of ours that an old etcdctl left in place would have no peer URLs.
    add(DatabaseBucket.Members, []);
    add(DatabaseBucket.MembersRemoved, []);
    // The version that a cluster has agreed on is left to the server that takes the file up.
    add(DatabaseBucket.Cluster, []);
    add(DatabaseBucket.Alarm, alarmEntries(connection));
    add(DatabaseBucket.Auth, authEntries(connection));
    add(DatabaseBucket.AuthUsers, systemEntries(connection, AUTH_USERS));
    add(DatabaseBucket.AuthRoles, systemEntries(connection, AUTH_ROLES));
    return { bytes: file.end(), revision: position.revision };
  } finally {
    connection.exec('COMMIT');
  }
}

function* minded(entries: Iterable<BoltEntry>, between: () => void): Generator<BoltEntry> {
  for (const entry of entries) {
    between();
    yield entry;
  }
}

function* keyEntries(connection: Connection): Generator<BoltEntry> {
  const rows = connection
    .prepare('SELECT revision, sub, deleted, key, iif(deleted, NULL, kv) FROM history ORDER BY id')
    .raw()
    .iterate() as Iterable<HistoryRow>;
  for (const [revision, sub, deleted, key, kv] of rows) {
    yield {
      key: revisionKey(revision, sub, deleted === 1),
      value: kv ?? tombstoneValue(key),
    };
  }
}

function* leaseEntries(connection: Connection): Generator<BoltEntry> {
  const rows = connection.prepare('SELECT id, ttl_seconds FROM leases ORDER BY id').raw().iterate();
  for (const [id, ttlSeconds] of rows as Iterable<[Buffer, number]>) {
    yield { key: id, value: leaseBytes({ id: id.readBigInt64BE(), ttlSeconds }) };
  }
}

function metaEntries(position: CachePosition, memberId: bigint): BoltEntry[] {
  const { compactRevision, compactedRevision, sequence, epoch } = position;
  const entries = [
    entry(MetaEntry.ConfState, confStateJson(memberId)),
    // A sequence is to our log what the index is to etcd's raft log.
    entry(MetaEntry.ConsistentIndex, uint64Bytes(sequence)),
    entry(MetaEntry.Term, uint64Bytes(epoch)),
    entry(MetaEntry.StorageVersion, Buffer.from(ETCD_FILE_STORAGE_VERSION)),
  ];
  const at = (revision: number): Uint8Array => revisionKey(revision, 0, false);
  // Rows that still wait to be removed are removed by the server that takes the file up, as after a crash of etcd.
  if (compactRevision >= 0) entries.push(entry(MetaEntry.ScheduledCompact, at(compactRevision)));
  if (compactedRevision >= 0) entries.push(entry(MetaEntry.FinishedCompact, at(compactedRevision)));
  return sorted(entries);
}

function authEntries(connection: Connection): BoltEntry[] {
  const value = connection.prepare('SELECT value FROM system WHERE name = ?').pluck();
  const enabled = value.get(AUTH_ENABLED) as Buffer | undefined;
  const revision = value.get(AUTH_REVISION) as Buffer | undefined;
  const entries = [entry(AuthEntry.Revision, revision ?? uint64Bytes(AUTH_REVISION_FIRST))];
  if (enabled !== undefined) entries.push(entry(AuthEntry.Enabled, enabled));
  return sorted(entries);
}

/** Of an alarm the member stands where others have their names. */
function alarmEntries(connection: Connection): BoltEntry[] {
  return sorted(
    systemEntries(connection, ALARM_PREFIX).map(({ value }) => ({ key: value, value: NO_BYTES })),
  );
}

/** The entries of the server's own state whose names begin with `prefix`, under the rest of their names. */
function systemEntries(connection: Connection, prefix: string): BoltEntry[] {
  const rows = connection.prepare('SELECT name, value FROM system ORDER BY name').raw().all();
  return sorted(
    (rows as [string, Buffer][])
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => entry(name.slice(prefix.length), value)),
  );
}

function entry(name: string, value: Uint8Array): BoltEntry {
  return { key: Buffer.from(name), value };
}

function sorted(entries: BoltEntry[]): BoltEntry[] {
  return entries.sort((a, b) => Buffer.compare(a.key, b.key));
}
