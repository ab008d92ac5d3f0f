import { createHash } from 'node:crypto';
import { asBuffer, bytesInt64, compareBytes } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import type { CacheComparison, CacheDifference } from '../contract/task.ts';
import { type CachePosition, type Connection, openToRead, PositionTable } from './database.ts';

/**
 * Compares two caches that stand at the same place of the log, row for row: each table is read once on both sides
 * in the order of its key. Values are told apart by their length and digest, so that no secret is printed.
 */

type Column = number | string | Buffer | null;
type Row = [key: Column, ...rest: Column[]];

interface Table {
  readonly select: string;
  place(row: Row): string;
  /** What a row says, besides its place. */
  text(row: Row): string;
}

const DIGEST_DIGITS = 16;
const PRINTABLE = /^[\x20-\x7e]*$/;

const TABLES: readonly Table[] = [
  {
    select: 'SELECT id, revision, sub, previous_id, deleted, key, kv, signpost FROM history ORDER BY id',
    place: ([, revision, sub, , , key]) => `revision ${revision}.${sub} of ${keyText(key as Buffer)}`,
    text: ([id, , , previousId, deleted, , kv, signpost]) =>
      `${deleted === 1 ? 'delete' : kvText(kv as Buffer)}, record ${id}, after record ${previousId}` +
      (signpost === 1 ? ', a signpost' : ''),
  },
  {
    select: 'SELECT key, id, mod_revision, create_revision, version, lease FROM current ORDER BY key',
    place: ([key]) => `key ${keyText(key as Buffer)}`,
    text: ([, id, modified, created, version, lease]) =>
      `record ${id}, revision ${modified}, created at ${created}, version ${version}, lease ${leaseText(lease!)}`,
  },
  {
    select: 'SELECT first, keys FROM key_blocks ORDER BY first',
    place: ([first]) => `count of keys from ${keyText(first as Buffer)} on`,
    text: ([, keys]) => `${String(keys)} keys up to the next count`,
  },
  {
    select: 'SELECT id, ttl_seconds FROM leases ORDER BY id',
    place: ([id]) => `lease ${leaseText(id)}`,
    text: ([, ttl]) => `TTL ${ttl} s`,
  },
  {
    select: 'SELECT name, value FROM system ORDER BY name',
    place: ([name]) => `entry ${String(name)}`,
    text: ([, value]) => bytesText(value as Buffer),
  },
];

/** The first `differencesMax` differences of the cache in `foundFile` from the one in `expectedFile`, and how many there are. */
export function compareCaches(
  expectedFile: string,
  foundFile: string,
  differencesMax: number,
): CacheComparison {
  const expected = openToRead(expectedFile);
  const found = openToRead(foundFile);
  try {
    const comparison: CacheComparison = { pending: false, differences: [], count: 0 };
    const positions = [expected, found].map((connection) => new PositionTable(connection).read());
    if (positions.some(isCompacting)) return { ...comparison, pending: true };
    for (const difference of allDifferences(expected, found, positions)) {
      comparison.count++;
      if (comparison.count <= differencesMax) comparison.differences.push(difference);
    }
    return comparison;
  } finally {
    expected.close();
    found.close();
  }
}

function isCompacting({ compactedRevision, compactRevision }: CachePosition): boolean {
  return compactedRevision < compactRevision;
}

function* allDifferences(
  expected: Connection,
  found: Connection,
  positions: readonly CachePosition[],
): Generator<CacheDifference> {
  const [mine, other] = positions as [CachePosition, CachePosition];
  for (const name of Object.keys(mine) as (keyof CachePosition)[]) {
    if (mine[name] === other[name]) continue;
    yield { place: name, expected: String(mine[name]), found: String(other[name]) };
  }
  for (const table of TABLES) yield* tableDifferences(table, expected, found);
}

function* tableDifferences(
  table: Table,
  expected: Connection,
  found: Connection,
): Generator<CacheDifference> {
  const [left, right] = [rowsOf(table, expected), rowsOf(table, found)];
  try {
    let [mine, other] = [left.next(), right.next()];
    while (!mine.done || !other.done) {
      const order = orderOf(mine.value, other.value);
      if (order < 0)
        yield { place: table.place(mine.value!), expected: table.text(mine.value!), found: 'none' };
      if (order > 0)
        yield { place: table.place(other.value!), expected: 'none', found: table.text(other.value!) };
      if (order === 0 && !isSame(mine.value!, other.value!))
        yield* difference(table, mine.value!, other.value!);
      if (order <= 0) mine = left.next();
      if (order >= 0) other = right.next();
    }
  } finally {
    left.return?.();
    right.return?.();
  }
}

function rowsOf({ select }: Table, connection: Connection): Iterator<Row, undefined> {
  return (connection.prepare(select).raw().iterate() as Iterable<Row>)[Symbol.iterator]() as Iterator<
    Row,
    undefined
  >;
}

/** Negative when `mine` comes first; a side that has ended comes last. */
function orderOf(mine: Row | undefined, other: Row | undefined): number {
  if (mine === undefined) return 1;
  if (other === undefined) return -1;
  const [a, b] = [mine[0], other[0]];
  if (typeof a === 'number') return a - (b as number);
  return compareBytes(Buffer.from(a as string), Buffer.from(b as string));
}

function isSame(mine: Row, other: Row): boolean {
  return mine.every((column, index) => {
    const same = other[index];
    return Buffer.isBuffer(column) && Buffer.isBuffer(same) ? column.equals(same) : column === same;
  });
}

function* difference(table: Table, mine: Row, other: Row): Generator<CacheDifference> {
  const [place, otherPlace] = [table.place(mine), table.place(other)];
  const isElsewhere = place !== otherPlace;
  const found = isElsewhere ? `${otherPlace}: ${table.text(other)}` : table.text(other);
  yield { place, expected: table.text(mine), found };
}

function kvText(kv: Buffer): string {
  if (kv.length === 0) return 'nothing';
  const { createRevision, modRevision, version, lease, value } = decodeKeyValue(kv);
  return `put, revision ${modRevision}, created at ${createRevision}, version ${version}, lease ${lease}, value of ${bytesText(value)}`;
}

function bytesText(bytes: Uint8Array): string {
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_DIGITS);
  return `${bytes.length} bytes (SHA-256 ${digest}…)`;
}

function keyText(key: Buffer): string {
  const text = asBuffer(key).toString('latin1');
  return PRINTABLE.test(text) ? JSON.stringify(text) : `0x${key.toString('hex')}`;
}

function leaseText(id: Column): string {
  return id === null ? 'none' : bytesInt64(id as Buffer).toString(16);
}
