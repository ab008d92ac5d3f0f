import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { compareBytes, NO_BYTES } from '../../src/shared/base/bytes.ts';
import { RangeResponseSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EventSchema, KeyValueSchema } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { decodeKeyValue } from '../../src/shared/etcd/responses.ts';
import { type LogRecord, Operation, operationRecord } from '../../src/shared/model/record.ts';
import { readEvents } from '../../src/workers/contract/events.ts';
import { Applier } from '../../src/workers/sqlite/apply.ts';
import { Compactor } from '../../src/workers/sqlite/compact.ts';
import { type Connection, openToWrite } from '../../src/workers/sqlite/database.ts';
import { Past } from '../../src/workers/sqlite/past.ts';
import { Replayer } from '../../src/workers/sqlite/replay.ts';
import { RowView } from '../../src/workers/sqlite/rows.ts';
import { SIGNPOST_VERSIONS } from '../../src/workers/sqlite/signposts.ts';
import type { KvList } from '../../src/workers/sqlite/view.ts';
import { bytes, text } from '../support/etcd-client.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { inRange } from './model.ts';

const HISTORIES = 6;
const REVISIONS = 700;
/** Two that get hundreds of versions, one that comes and goes, and others before, between and behind them. */
const [HOT, HOTTER, FLAPPING] = ['b', 'm', 'f'] as const;
const OTHERS = Array.from({ length: 24 }, (_, index) => String.fromCharCode(97 + index) + (index % 3));
const KEYS = [HOT, HOTTER, FLAPPING, ...OTHERS];
const ENDS = ['', 'g', 'n', 'z', '\0'];

interface State {
  readonly revision: number;
  readonly createRevision: number;
  readonly version: number;
}

const log = operationRecord(Operation.KeyValue, 0);

/** Random records of whole revisions, one after the other, with several changes of a key in some. */
function randomRecords(random: Seeded): LogRecord[][] {
  const living = new Map<string, State>();
  const change = (name: string, revision: number, sub: number): LogRecord => {
    const before = living.get(name);
    const deletes = before !== undefined && random.integer(0, 100) < deathsOf(name);
    const key = bytes(name);
    const prevRevision = before?.revision ?? 0;
    if (deletes) {
      living.delete(name);
      return { ...log, revision, sub, key, deleted: true, prevRevision };
    }
    const state = {
      revision,
      createRevision: before?.createRevision ?? revision,
      version: (before?.version ?? 0) + 1,
    };
    living.set(name, state);
    const value = bytes(`${revision}.${sub}`);
    return { ...log, ...state, sub, key, value, created: before === undefined, prevRevision };
  };
  return Array.from({ length: REVISIONS }, (_, index) => {
    const hot = random.pick([HOT, HOTTER, HOTTER, FLAPPING]);
    const names = Array.from({ length: random.integer(0, 4) === 0 ? random.integer(2, 7) : 1 }, () =>
      random.integer(0, 5) === 0 ? random.pick(OTHERS) : hot,
    );
    return names.map((name, sub) => change(name, index + 2, sub));
  });
}

/** Percent of a living key's changes that are deletes. */
function deathsOf(name: string): number {
  if (name === FLAPPING) return 60;
  return name.length === 1 ? 1 : 25;
}

const compaction = (compactRevision: number): LogRecord => ({
  ...log,
  operation: Operation.Compaction,
  compactRevision,
});

/** What etcd has of a history after a compaction, which is what is imported of it. */
function compacted(records: LogRecord[], at: number): LogRecord[] {
  const newest = newestOf(records, at);
  return records.filter((record) => {
    const needed = newest.get(text(record.key)) === record && (!record.deleted || record.revision === at);
    return record.revision > at || needed;
  });
}

/** The newest record of each key at `revision`, tombstones among them. */
function newestOf(records: LogRecord[], revision: number): Map<string, LogRecord> {
  const newest = new Map<string, LogRecord>();
  for (const record of records) if (record.revision <= revision) newest.set(text(record.key), record);
  return newest;
}

/** A cache that follows a random history, an import at its beginning in every other one, and compactions in it. */
class History {
  readonly connection: Connection = openToWrite(join(temporaryDirectory(), 'cache.sqlite'));
  readonly random: Seeded;
  records: LogRecord[] = [];
  readonly #waiting: LogRecord[][];
  readonly #applier: Applier;
  readonly #compactor: Compactor;

  constructor(seed: number) {
    this.random = new Seeded(seed);
    this.#waiting = randomRecords(this.random);
    this.#applier = new Applier(this.connection);
    this.#compactor = new Compactor(this.connection, this.#applier);
    if (this.random.integer(0, 2) === 0) this.#import();
    else this.#apply([this.#epoch()]);
  }

  get compactRevision(): number {
    return Math.max(1, this.#applier.position.compactRevision);
  }

  get revision(): number {
    return this.#applier.position.revision;
  }

  /** Applies some more; false at the end. A compaction may come then, and its rows may go. */
  grow(): boolean {
    this.#apply(this.#take(this.random.integer(60, 240)));
    if (this.random.integer(0, 2) === 0) {
      this.#apply([compaction(this.random.integer(this.compactRevision + 1, this.revision + 1))]);
    }
    if (this.random.integer(0, 2) === 0) while (this.#compactor.pending) this.#compactor.step();
    return this.#waiting.length > 0;
  }

  #import(): void {
    const records = this.#take(200);
    const revision = records.at(-1)!.revision;
    const at = this.random.integer(20, revision + 1);
    const kept = compacted(records, at);
    this.#apply([compaction(at), ...kept]);
    const importEnd = { revision, records: kept.length, leases: 0 };
    this.#apply([{ ...log, operation: Operation.ImportEnd, importEnd }, this.#epoch()]);
  }

  #take(revisions: number): LogRecord[] {
    const taken = this.#waiting.splice(0, revisions).flat();
    this.records.push(...taken);
    return taken;
  }

  #epoch(): LogRecord {
    const { nextSequence } = this.#applier.position;
    const epoch = { epoch: 1, skipTo: nextSequence + 66, holder: 'test', clusterId: 1n };
    return { ...log, operation: Operation.Epoch, epoch };
  }

  #apply(records: LogRecord[]): void {
    const sequence = this.#applier.position.nextSequence;
    this.#applier.apply([{ sequence, crc: 0n, changes: records.map((record) => ({ record })) }]);
  }
}

const seen = (kv: Uint8Array): string => {
  const { key, createRevision, modRevision, version, value } = decodeKeyValue(kv);
  return `${text(key)}=${text(value)} ${createRevision} ${modRevision} ${version}`;
};
const expectedOf = ({ key, value, createRevision, revision, version }: LogRecord): string =>
  `${text(key)}=${text(value)} ${createRevision} ${revision} ${version}`;

function kvsOf(list: KvList): readonly Uint8Array[] {
  if (!('fields' in list)) return list;
  return fromBinary(RangeResponseSchema, list.fields()).kvs.map((kv) => toBinary(KeyValueSchema, kv));
}

/** Compares what is read at `revision` with `newest`, the newest record of each key there. */
function checkRevision(
  past: Past,
  rows: RowView,
  random: Seeded,
  revision: number,
  newest: Map<string, LogRecord>,
): void {
  const place = past.placeOf(revision);
  const living = [...newest.values()].filter(({ deleted }) => !deleted);
  living.sort((a, b) => compareBytes(a.key, b.key));
  const asked = { key: bytes(random.pick(KEYS)), rangeEnd: bytes(random.pick(ENDS)) };
  for (const range of [{ key: bytes('\0'), rangeEnd: bytes('\0') }, asked]) {
    const [from, to] = [text(range.key), text(range.rangeEnd)];
    const expected = living.filter(({ key }) => inRange(from, to, text(key))).map(expectedOf);
    const where = `[${from}, ${to}) at ${revision} of ${rows.revision}`;
    assert.deepEqual(
      past.list(range, place, 0).map((one) => seen(one.kv)),
      expected,
      where,
    );
    const limit = random.integer(1, 6);
    assert.deepEqual(
      past.list(range, place, limit).map((one) => seen(one.kv)),
      expected.slice(0, limit),
      `${where}, ${limit}`,
    );
    assert.equal(past.count(range, place), expected.length, `count of ${where}`);
    assert.equal(rows.count(range, revision), expected.length, `count of ${where}, either way`);
    const kvs = kvsOf(rows.listKvs(range, revision, 0)).map(seen);
    assert.deepEqual(past.listKvs(range, place, 0).map(seen), expected, where);
    assert.deepEqual(kvs, expected, where);
  }
  const state = newest.get(text(asked.key));
  const got = past.get(asked.key, place);
  assert.equal(got && seen(got.kv), state && !state.deleted ? expectedOf(state) : undefined);
}

/** Compares the changes of a key from `revision` on, and the events of a watcher of it. */
function checkKey(past: Past, replayer: Replayer, history: History, revision: number): void {
  const name = history.random.pick([HOT, HOTTER, FLAPPING, ...OTHERS]);
  const changes = history.records.filter(({ key, revision: at }) => at >= revision && text(key) === name);
  const places = changes.map(({ revision: at, sub }) => `${at}.${sub}`);
  const { endId } = past.placeOf(revision - 1);
  const atLeast = history.random.integer(1, 9) * SIGNPOST_VERSIONS;
  const { rows, all } = past.changesOf(bytes(name), endId, atLeast);
  const found = rows.map(({ revision: at, sub }) => `${at}.${sub}`);
  assert.deepEqual(
    found,
    all ? places : places.slice(0, found.length),
    `changes of ${name} from ${revision}`,
  );
  assert.ok(all || found.length * SIGNPOST_VERSIONS >= atLeast, 'a step gets on');
  const options = { bytesMax: 1 << 30, prevKv: true, compactRevision: history.compactRevision };
  const reply = replayer.replay({ key: bytes(name), rangeEnd: NO_BYTES, fromRevision: revision, ...options });
  assert.ok(reply.kind === 'events' && reply.complete);
  const events = readEvents(reply.events).map((event) => {
    const { prevKv } = fromBinary(EventSchema, event.bytes);
    return `${event.revision}.${event.sub} ${prevKv === undefined ? '' : text(prevKv.value)}`;
  });
  assert.deepEqual(
    events,
    changes.map((change) => eventOf(history, change)),
    `events of ${name} from ${revision}`,
  );
}

/** An event with the value before its revision; one that creates its key has none. */
function eventOf(history: History, { key, revision, sub, prevRevision }: LogRecord): string {
  const before = newestOf(history.records, revision - 1).get(text(key));
  const value = prevRevision === 0 || before === undefined || before.deleted ? '' : text(before.value);
  return `${revision}.${sub} ${value}`;
}

describe('an older revision', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

  it('is read as it was, whatever the history of hot keys, deletes, imports and compactions', (test) => {
    test.diagnostic(`SEED=${seed}`);
    for (let index = 0; index < HISTORIES; index++) {
      const history = new History(seed + index);
      const rows = new RowView(history.connection);
      const past = new Past(history.connection);
      const replayer = new Replayer(history.connection, rows);
      for (let more = true; more; ) {
        more = history.grow();
        rows.refresh();
        const from = history.compactRevision;
        const newest = newestOf(history.records, from - 1);
        for (const [at, records] of byRevision(history.records, from)) {
          for (const record of records) newest.set(text(record.key), record);
          if (history.random.integer(0, 3) > 0) continue;
          checkRevision(past, rows, history.random, at, newest);
          if (history.random.integer(0, 3) === 0 && at > from) checkKey(past, replayer, history, at);
        }
      }
      history.connection.close();
    }
  });

  it('is read by indexes, in their order, and so no further than a limit', () => {
    const connection = openToWrite(join(temporaryDirectory(), 'cache.sqlite'));
    const prepare = connection.prepare.bind(connection);
    const statements: string[] = [];
    connection.prepare = ((sql: string) => {
      statements.push(sql);
      return prepare(sql);
    }) as typeof connection.prepare;
    const past = new Past(connection);
    assert.equal(past.count({ key: bytes('a'), rangeEnd: NO_BYTES }, past.placeOf(1)), 0);
    assert.ok(statements.some((sql) => sql.includes('signpost = 1')));
    for (const sql of statements) {
      const parameters = Array.from({ length: sql.split('?').length - 1 }, () => 1);
      const steps = prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters) as { detail: string }[];
      const slow = steps.filter(({ detail }) =>
        /TEMP B-TREE|MATERIALIZE|SCAN (history|current)/.test(detail),
      );
      assert.deepEqual(slow, [], sql);
    }
    connection.close();
  });
});

function byRevision(records: LogRecord[], from: number): Map<number, LogRecord[]> {
  const revisions = new Map<number, LogRecord[]>();
  for (const record of records) {
    if (record.revision < from) continue;
    const before = revisions.get(record.revision);
    if (before === undefined) revisions.set(record.revision, [record]);
    else before.push(record);
  }
  return revisions;
}
