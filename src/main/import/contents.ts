import { fromBinary } from '@bufbuild/protobuf';
import { AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS } from '../../shared/auth/state.ts';
import { asBuffer } from '../../shared/base/bytes.ts';
import { type BoltReader, CorruptBoltError } from '../../shared/bolt/reader.ts';
import { alarmName, decodeAlarmMember, encodeAlarmMember } from '../../shared/etcd/alarm.ts';
import {
  AuthEntry,
  DatabaseBucket,
  type DatabaseRevision,
  MetaEntry,
  parseLease,
  parseRevision,
} from '../../shared/etcd/database.ts';
import { RoleSchema, UserSchema } from '../../shared/etcd/gen/authpb/auth_pb.ts';
import { tombstoneValue } from '../../shared/etcd/key-bucket.ts';
import { decodeKeyValue, type KeyValue, keyValueBytes } from '../../shared/etcd/responses.ts';
import { LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN } from '../../shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord, systemRecord } from '../../shared/model/record.ts';
import { type DatabaseFile, ImportFileError } from './database-file.ts';
import type { ImportSource } from './import.ts';

/** What another server's data come to. */
export interface DatabaseSummary {
  /** The server's revision. */
  readonly revision: number;
  /** Undefined if it was never compacted. */
  readonly compactRevision: number | undefined;
  /** Puts and deletes. */
  readonly records: number;
  readonly leases: number;
  readonly users: number;
  readonly roles: number;
  readonly authEnabled: boolean;
  /** Alarms that were raised, and still are. */
  readonly alarms: number;
}

/** An empty server's. */
const FIRST_REVISION = 1;

/** An etcd database as something to be imported. */
export function databaseSource(file: DatabaseFile): ImportSource {
  return {
    sha256: file.sha256,
    summarize: () => summarize(file.database),
    records: (createdAtMs) => importedRecords(file.database, createdAtMs),
    located: (error) => file.located(error),
    changed: () =>
      new ImportFileError(`${file.path}: changed while it was read; stop the etcd that has it open`),
  };
}

/** Reads and checks the whole database. Throws CorruptBoltError where it is damaged. */
export function summarize(database: BoltReader): DatabaseSummary {
  let records = 0;
  let revision = FIRST_REVISION;
  for (const record of keyRecords(database, 0)) {
    records++;
    revision = record.revision;
  }
  const compactRevision = compaction(database);
  const auth = new Map(authRecords(database, 0).map(({ key, value }) => [asBuffer(key).toString(), value]));
  const countOf = (prefix: string): number =>
    [...auth.keys()].filter((name) => name.startsWith(prefix)).length;
  return {
    // The last revisions may have been deletes that compaction removed.
    revision: Math.max(revision, compactRevision ?? 0),
    compactRevision,
    records,
    leases: count(leaseRecords(database, 0)),
    users: countOf(AUTH_USERS),
    roles: countOf(AUTH_ROLES),
    authEnabled: auth.get(AUTH_ENABLED)?.[0] === 1,
    alarms: count(alarmRecords(database, 0)),
  };
}

function count(of: Iterable<unknown>): number {
  let found = 0;
  for (const _ of of) found++;
  return found;
}

/** The database as records of a log, in the log's order, without the records that end an import. */
function* importedRecords(database: BoltReader, createdAtMs: number): Generator<LogRecord> {
  yield* leaseRecords(database, createdAtMs);
  yield* authRecords(database, createdAtMs);
  yield* alarmRecords(database, createdAtMs);
  yield* keyRecords(database, createdAtMs);
}

function* leaseRecords(database: BoltReader, createdAtMs: number): Generator<LogRecord> {
  for (const { key, value, place } of database.entries(DatabaseBucket.Lease)) {
    const { id, ttlSeconds } = readable(place, 'a lease', () => parseLease(key, value));
    if (id === 0n || ttlSeconds > LEASE_TTL_SECONDS_MAX) {
      throw new CorruptBoltError(`${place}: lease ${id} has a TTL of ${ttlSeconds} s`);
    }
    // etcd, too, raises what is below its minimum when it starts.
    const leaseTtlSeconds = Math.max(ttlSeconds, LEASE_TTL_SECONDS_MIN);
    yield { ...operationRecord(Operation.LeaseGrant, createdAtMs), lease: id, leaseTtlSeconds };
  }
}

/** Users and roles are few; their values are the same here as there. */
function authRecords(database: BoltReader, createdAtMs: number): LogRecord[] {
  const found: LogRecord[] = [];
  for (const { bucket, nameOf, isGood } of AUTH_PARTS) {
    for (const { key, value, place } of database.entries(bucket)) {
      const entry = asBuffer(key).toString();
      const name = nameOf(entry);
      if (name === undefined) continue;
      const whole =
        Buffer.from(entry).equals(key) && readable(place, `what ${name} is`, () => isGood(name, value));
      if (!whole) throw new CorruptBoltError(`${place}: the value is not what ${name} is`);
      found.push(systemRecord({ name, value: Uint8Array.from(value) }, createdAtMs));
    }
  }
  return found;
}

interface AuthPart {
  readonly bucket: string;
  /** Of an entry of the bucket, here; undefined for one that is not known. */
  nameOf(entry: string): string | undefined;
  isGood(name: string, value: Uint8Array): boolean;
}

const AUTH_ENTRIES: Readonly<Record<string, { name: string; bytes: number }>> = {
  [AuthEntry.Enabled]: { name: AUTH_ENABLED, bytes: 1 },
  [AuthEntry.Revision]: { name: AUTH_REVISION, bytes: 8 },
};

const AUTH_PARTS: readonly AuthPart[] = [
  {
    bucket: DatabaseBucket.Auth,
    nameOf: (entry) => AUTH_ENTRIES[entry]?.name,
    isGood: (name, value) =>
      Object.values(AUTH_ENTRIES).some((entry) => entry.name === name && entry.bytes === value.length),
  },
  {
    bucket: DatabaseBucket.AuthRoles,
    nameOf: (entry) => AUTH_ROLES + entry,
    isGood: (name, value) => AUTH_ROLES + named(fromBinary(RoleSchema, value)) === name,
  },
  {
    bucket: DatabaseBucket.AuthUsers,
    nameOf: (entry) => AUTH_USERS + entry,
    isGood: (name, value) => AUTH_USERS + named(fromBinary(UserSchema, value)) === name,
  },
];

function named({ name }: { readonly name: Uint8Array }): string {
  return asBuffer(name).toString();
}

function* alarmRecords(database: BoltReader, createdAtMs: number): Generator<LogRecord> {
  for (const { key, place } of database.entries(DatabaseBucket.Alarm)) {
    const alarm = readable(place, 'an alarm', () => decodeAlarmMember(key));
    yield systemRecord({ name: alarmName(alarm), value: encodeAlarmMember(alarm) }, createdAtMs);
  }
}

/** Puts and deletes. Gaps are compaction's; everything else must be as etcd writes it, to the byte. */
function* keyRecords(database: BoltReader, createdAtMs: number): Generator<LogRecord> {
  for (const { key, value, place } of database.entries(DatabaseBucket.Key)) {
    const at = parseRevision(key);
    if (at === undefined || at.revision <= FIRST_REVISION) {
      const found = asBuffer(key).toString('hex', 0, 32);
      throw new CorruptBoltError(`${place}: 0x${found} is not a revision after the first`);
    }
    const kv = readable(place, 'a KeyValue', () => decodeKeyValue(value));
    checkKeyValue(at, kv, value, place);
    yield { ...operationRecord(Operation.KeyValue, createdAtMs), ...keyValueFields(at, kv) };
  }
}

function keyValueFields({ revision, sub, deleted }: DatabaseRevision, kv: KeyValue): Partial<LogRecord> {
  const { key, value, createRevision, version, lease } = kv;
  const created = !deleted && createRevision === revision;
  return { revision, sub, key, value, created, deleted, createRevision, version, lease };
}

/** Whether `value` is what etcd stores under the revision: then it gives the same bytes, and hashes, here as there. */
function checkKeyValue(at: DatabaseRevision, kv: KeyValue, value: Uint8Array, place: string): void {
  // `etcdutl snapshot restore --bump-revision` puts a revision without anything in it.
  if (value.length === 0 && !at.deleted) return;
  const refused = (what: string): CorruptBoltError =>
    new CorruptBoltError(`${place}: revision ${at.revision}.${at.sub} ${what}`);
  if (kv.key.length === 0) throw refused('has no key');
  if (!at.deleted) {
    if (kv.modRevision !== at.revision) throw refused(`says that it is revision ${kv.modRevision}`);
    const isCreate = kv.createRevision === at.revision;
    if (
      kv.createRevision < 1 ||
      kv.createRevision > at.revision ||
      kv.version < 1 ||
      (isCreate && kv.version !== 1)
    ) {
      throw refused(`has create revision ${kv.createRevision} and version ${kv.version}`);
    }
  }
  const expected = at.deleted ? tombstoneValue(kv.key) : keyValueBytes(kv);
  if (!asBuffer(expected).equals(value)) throw refused("is not in etcd's encoding");
}

/** The compaction revision: the one that was asked for, as etcd finishes it at its next start. */
function compaction(database: BoltReader): number | undefined {
  let found: number | undefined;
  for (const { key, value, place } of database.entries(DatabaseBucket.Meta)) {
    const name = asBuffer(key).toString();
    if (name !== MetaEntry.ScheduledCompact && name !== MetaEntry.FinishedCompact) continue;
    const revision = parseRevision(value)?.revision;
    if (revision === undefined) throw new CorruptBoltError(`${place}: ${name} is not a revision`);
    found = Math.max(found ?? 0, revision);
  }
  return found;
}

function readable<T>(place: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptBoltError) throw error;
    throw new CorruptBoltError(`${place}: the value is not ${what} (${(error as Error).message})`);
  }
}
