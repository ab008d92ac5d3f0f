import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import {
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { LARGE_KEYS } from '../../src/workers/sqlite/large-ranges.ts';
import { text } from '../support/etcd-client.ts';
import { Fixture, keysOf, putOp } from './fixture.ts';

const KEYS = LARGE_KEYS + 200;
const KEYS_PER_TXN = 100;
const LISTS = 24;
const VALUE = 'v'.repeat(4096);

const nameOf = (index: number): string => `many/${String(index).padStart(5, '0')}`;

describe('Lists of very many keys', { timeout: 60_000 }, () => {
  const server = new Fixture();

  before(async () => {
    for (let first = 0; first < KEYS; first += KEYS_PER_TXN) {
      const names = Array.from({ length: KEYS_PER_TXN }, (_, index) => nameOf(first + index));
      await server.txn({ success: names.map((name) => putOp(name, VALUE)) });
    }
  });

  /** What a thread's nice value is, by /proc/PID/task/ID/stat. */
  function niceValues(): number[] {
    const tasks = `/proc/${server.netsy.pid}/task`;
    return readdirSync(tasks).map((id) => {
      const stat = readFileSync(`${tasks}/${id}/stat`, 'latin1');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    });
  }

  it('are whole, in every order, at an old revision, and up to a limit that is large itself', async () => {
    const names = Array.from({ length: KEYS }, (_, index) => nameOf(index));
    const now = await server.range('many/', 'many0');
    assert.deepEqual(keysOf(now), names);
    assert.equal(text(now.kvs[KEYS - 1]?.value), VALUE);
    const descending = { sortOrder: RangeRequest_SortOrder.DESCEND, sortTarget: RangeRequest_SortTarget.KEY };
    assert.deepEqual(keysOf(await server.range('many/', 'many0', descending)), [...names].reverse());
    const limit = BigInt(LARGE_KEYS + 1);
    const some = await server.range('many/', 'many0', { limit });
    assert.deepEqual(keysOf(some), names.slice(0, LARGE_KEYS + 1));
    assert.deepEqual([some.more, some.count], [true, BigInt(KEYS)]);
    await server.put(nameOf(0), 'newer');
    const old = await server.range('many/', 'many0', { revision: now.header!.revision });
    assert.equal(text(old.kvs[0]?.value), VALUE);
    assert.equal(old.kvs.length, KEYS);
    await server.put(nameOf(0), VALUE);
  });

  it('of an old revision that is compacted or to come fail as small ones do', async () => {
    const compacted = server.range('many/', 'many0', { revision: 1_000_000n });
    await assert.rejects(compacted, /required revision is a future revision/);
  });

  it('do not hold up reads that come after them', async () => {
    await server.put('one', 'value');
    let lists = 0;
    const listed = Array.from({ length: LISTS }, () =>
      server.range('many/', 'many0').then(({ kvs }) => {
        lists++;
        assert.equal(kvs.length, KEYS);
      }),
    );
    // Each is asked for after all lists, and a reader answers what it has in the order in which it came.
    const [get, page] = await Promise.all([
      server.range('one').then(() => lists),
      server.range('many/', 'many0', { limit: 10n }).then(() => lists),
    ]);
    await Promise.all(listed);
    assert.ok(get < LISTS, `a get was answered after ${get} of ${LISTS} lists`);
    assert.ok(page < LISTS, `a page was answered after ${page} of ${LISTS} lists`);
  });

  it('run on a thread that leaves the processor to the others', {
    skip: process.platform !== 'linux',
  }, async () => {
    await server.range('many/', 'many0');
    const own = niceValues();
    const [main] = own;
    assert.deepEqual(
      own.filter((nice) => nice !== main),
      [Math.min(19, main! + 10)],
    );
  });
});
