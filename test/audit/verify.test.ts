import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Finding } from '../../src/main/audit/finding.ts';
import type { VerifyResult } from '../../src/main/audit/verify.ts';
import { chunkKey, leaseKey, snapshotKey } from '../../src/shared/format/names.ts';
import { Operation, operationRecord } from '../../src/shared/model/record.ts';
import type { MemoryStore } from '../support/memory-store.ts';
import { Seeded } from '../support/seeded.ts';
import { MadeStore } from './made-store.ts';
import { verified } from './verified.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const CHUNKS = 60;

function named({ damages }: VerifyResult): string[] {
  return damages.map(({ object }) => object);
}

/** Whether a finding is about the object, or about what follows it and says so. */
function isAbout(key: string, { object, expected }: Finding): boolean {
  if (object === key || expected.includes(key)) return true;
  const [from, to] = object.split(' … ');
  return to !== undefined && from! <= key && key <= to;
}

function assertNamed(result: VerifyResult, keys: readonly string[]): void {
  assert.equal(result.whole, false, 'the damage was not found');
  for (const key of keys) {
    assert.ok(
      result.damages.some((finding) => isAbout(key, finding)),
      `${key} is not named in ${JSON.stringify(result.damages)}`,
    );
  }
}

/** Changes one bit, of those that mean something: a zstd frame's descriptor has one that does not. */
async function flipBit(store: MemoryStore, key: string, seeded: Seeded): Promise<string> {
  const object = (await store.get(key))!;
  const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
  let at: number;
  do at = seeded.integer(0, object.length);
  while (magic.equals(object.subarray(Math.max(0, at - 4), at)));
  const bit = seeded.integer(0, 8);
  object[at]! ^= 1 << bit;
  await store.put(key, object);
  return `bit ${bit} of byte ${at} of ${key}`;
}

describe('netsy verify on a random history', { timeout: 120_000 }, () => {
  for (const seed of [SEED, SEED + 1]) {
    it(`finds it whole, with its snapshots compared (SEED=${seed})`, async () => {
      const made = await MadeStore.random(seed, CHUNKS);
      const last = await made.snapshot();
      const result = await verified(made.store);
      made.close();
      assert.deepEqual(result.damages, []);
      assert.equal(result.whole, true);
      assert.deepEqual([result.chunks, result.sequence], [made.chunks.length, last]);
      assert.deepEqual(
        result.snapshots.map(({ sequence, comparedWith }) => [sequence, comparedWith]),
        made.snapshots.map((sequence) => [sequence, 'the start of the log']),
      );
      assert.deepEqual(
        result.notes.map(({ object }) => object),
        made.stragglers.map(chunkKey),
        'stragglers are named, and are no damage',
      );
    });
  }

  it('finds it whole when retention has deleted its beginning', async (test) => {
    test.diagnostic(`SEED=${SEED}`);
    const made = await MadeStore.random(SEED, CHUNKS);
    const base = await made.snapshot();
    await made.put('later', 'value');
    const later = await made.snapshot();
    await made.put('last', 'value');
    for (const sequence of made.snapshots.slice(0, -2)) await made.store.delete(snapshotKey(sequence));
    for (const sequence of [...made.chunks, ...made.stragglers]) {
      if (sequence <= base) await made.store.delete(chunkKey(sequence));
    }
    const result = await verified(made.store);
    made.close();
    assert.deepEqual(result.damages, []);
    assert.deepEqual(
      result.notes.map(({ object }) => object),
      made.stragglers.filter((sequence) => sequence > base).map(chunkKey),
    );
    assert.deepEqual(
      result.snapshots.map(({ sequence, comparedWith }) => [sequence, comparedWith]),
      [
        [base, undefined],
        [later, snapshotKey(base)],
      ],
    );
  });
});

/** What is missing among so many chunks at the beginning may be a deletion that was interrupted, and is a note. */
const DELETED_AT_ONCE = 16;

describe('netsy verify finds and names', { timeout: 240_000 }, () => {
  const seeded = new Seeded(SEED);
  let made: MadeStore;
  let other: MadeStore;

  before(async () => {
    made = await MadeStore.random(SEED, CHUNKS);
    await made.claim();
    await made.put('more', 'values');
    await made.snapshot();
    await made.put('and', 'more');
    await made.lease();
    other = await MadeStore.random(SEED + 1, CHUNKS);
  });
  after(() => {
    made.close();
    other.close();
  });

  async function found(
    test: TestContext,
    damage: (store: MemoryStore) => Promise<string | undefined>,
  ): Promise<VerifyResult> {
    const store = await made.copy();
    const what = await damage(store);
    test.diagnostic(`SEED=${SEED}: ${what ?? 'as named'}`);
    return verified(store);
  }

  for (const kind of ['a chunk', 'a snapshot']) {
    for (let round = 0; round < 1; round++) {
      const keyOf = (): string =>
        kind === 'a chunk' ? chunkKey(seeded.pick(made.chunks)) : snapshotKey(seeded.pick(made.snapshots));

      it(`${kind} with a bit flipped (${round})`, async (test) => {
        const key = keyOf();
        const result = await found(test, (store) => flipBit(store, key, seeded));
        assertNamed(result, [key]);
        assert.equal(result.damages[0]!.place.includes('byte'), true, JSON.stringify(result.damages));
      });

      it(`${kind} that is cut short (${round})`, async (test) => {
        const key = keyOf();
        const result = await found(test, async (store) => {
          const object = (await store.get(key))!;
          const length = seeded.integer(0, object.length);
          await store.put(key, object.subarray(0, length));
          return `${length} of ${object.length} bytes of ${key}`;
        });
        assertNamed(result, [key]);
      });
    }
  }

  it('every chunk that is missing', async (test) => {
    const gone = [seeded.pick(made.chunks.slice(DELETED_AT_ONCE)), made.chunks[made.chunks.length - 1]!];
    for (const sequence of gone) {
      const result = await found(test, (store) =>
        store.delete(chunkKey(sequence)).then(() => chunkKey(sequence)),
      );
      assertNamed(result, [chunkKey(sequence)]);
      assert.deepEqual(
        result.damages.filter(({ check }) => check !== 'chunk'),
        [],
        'and nothing else',
      );
    }
  });

  it('several damages at once', async (test) => {
    const damaged = [5, 25, 45].map((index) => chunkKey(made.chunks[index]!));
    const result = await found(test, async (store) => {
      for (const key of damaged) await flipBit(store, key, seeded);
      return damaged.join();
    });
    assert.deepEqual(named(result), damaged);
  });

  it('an epoch chunk that is lost, without taking what stands behind it for the log', async (test) => {
    const isEpoch = (index: number): boolean => (made.chunks[index + 1] ?? 0) > made.chunks[index]! + 1;
    const sequence = seeded.pick(
      made.chunks.filter((_, index) => index >= DELETED_AT_ONCE && isEpoch(index)),
    );
    for (const how of ['deleted', 'damaged']) {
      const result = await found(test, async (store) => {
        if (how === 'deleted') await store.delete(chunkKey(sequence));
        else await store.put(chunkKey(sequence), Buffer.from('no chunk'));
        return `${chunkKey(sequence)} ${how}`;
      });
      assert.deepEqual(named(result), [chunkKey(sequence)], JSON.stringify(result.damages));
    }
  });

  it('two chunks that have changed places', async (test) => {
    const index = seeded.integer(0, made.chunks.length - 1);
    const [one, two] = [chunkKey(made.chunks[index]!), chunkKey(made.chunks[index + 1]!)];
    const result = await found(test, async (store) => {
      const [first, second] = [(await store.get(one))!, (await store.get(two))!];
      await store.put(one, second);
      await store.put(two, first);
      return `${one} and ${two}`;
    });
    assertNamed(result, [one, two]);
    assert.deepEqual(new Set(result.damages.map(({ check }) => check)), new Set(['sequence']));
  });

  it('a chunk of another store', async (test) => {
    const common = made.chunks.filter((sequence) => other.chunks.includes(sequence));
    const key = chunkKey(seeded.pick(common));
    const result = await found(test, async (store) => {
      await store.put(key, (await other.store.get(key))!);
      return key;
    });
    assertNamed(result, [key]);
    assert.ok(result.damages.some(({ check }) => check === 'previous chunk CRC64'));
  });

  it('a snapshot of another store', async (test) => {
    const key = snapshotKey(seeded.pick(made.snapshots));
    const result = await found(test, async (store) => {
      const source = await MadeStore.random(SEED + 2, 3);
      await source.put('x', 'y');
      const sequence = await source.snapshot();
      await store.put(snapshotKey(sequence), (await source.store.get(snapshotKey(sequence)))!);
      source.close();
      return key;
    });
    assert.equal(result.whole, false);
    assert.match(named(result)[0]!, /^snapshots\//);
  });

  for (const [what, revision, check] of [
    ['does not rise', 2, 'revision'],
    ['leaves some out', 1_000_000, 'state'],
  ] as const) {
    it(`a chunk whose revision ${what}, though every CRC and the chain are right`, async (test) => {
      const again = await MadeStore.random(SEED, CHUNKS);
      const key = Buffer.from('a');
      const put = { ...operationRecord(Operation.KeyValue, 0), key, created: true, version: 1 };
      const sequence = await again.putUnapplied([{ ...put, revision, createRevision: revision }]);
      const result = await verified(again.store);
      again.close();
      test.diagnostic(`SEED=${SEED}: ${JSON.stringify(result.damages)}`);
      assertNamed(result, [chunkKey(sequence)]);
      assert.ok(result.damages.some((finding) => finding.check === check));
    });
  }

  it('a lease that says that the log was longer', async (test) => {
    const result = await found(test, async (store) => {
      const lease = JSON.parse(Buffer.from((await store.get(leaseKey(1)))!).toString()) as object;
      await store.put(leaseKey(1), Buffer.from(JSON.stringify({ ...lease, sequence: 1_000_000 })));
      return undefined;
    });
    assert.match(named(result).join(), /1000000\.netsy$/);
  });
});

describe('netsy verify compares the state, since CRCs can be right and contents wrong', {
  timeout: 120_000,
}, () => {
  const tampers: Readonly<Record<string, readonly [sql: string, place: RegExp]>> = {
    'a value': [
      `UPDATE history SET kv = (SELECT kv FROM history ORDER BY id LIMIT 1) WHERE id = (SELECT max(id) FROM history)`,
      /^revision \d+\.\d+ of "/,
    ],
    'a record too few': [
      'DELETE FROM history WHERE id = (SELECT max(id) FROM history)',
      /^revision \d+\.\d+ of "/,
    ],
    'a delete that is a put': [
      'UPDATE history SET deleted = 1 - deleted WHERE id = (SELECT max(id) FROM history)',
      /^(revision|key) /,
    ],
    'a lease more': [`INSERT INTO leases VALUES (x'0000000000000099', 60)`, /^lease 99$/],
    'an entry': [`UPDATE system SET value = x'ffff'`, /^entry other\/entry$/],
    'the compaction revision': [
      'UPDATE log_position SET compact_revision = compact_revision + 1, compacted_revision = compact_revision + 1',
      /^compactRevision$/,
    ],
    'the revision': ['UPDATE log_position SET revision = revision + 1', /^revision$/],
  };
  for (const [what, [sql, place]] of Object.entries(tampers)) {
    it(`and finds a snapshot with ${what} changed, by its record`, async (test) => {
      const seed = SEED + 10;
      test.diagnostic(`SEED=${seed}`);
      const made = await MadeStore.random(seed, 30);
      await made.put('certain', 'value');
      await made.snapshot();
      const before = await verified(made.store);
      assert.deepEqual(before.damages, []);
      const sequence = await made.snapshot(sql);
      const result = await verified(made.store);
      made.close();
      assertNamed(result, [snapshotKey(sequence)]);
      assert.deepEqual(new Set(named(result)), new Set([snapshotKey(sequence)]));
      assert.equal(result.damages[0]!.check, 'state by the chunks');
      assert.ok(
        result.damages.some((finding) => place.test(finding.place)),
        JSON.stringify(result.damages),
      );
    });
  }
});

describe('netsy verify on what is no whole log', () => {
  it('says that an empty store holds none', async () => {
    const made = new MadeStore(1);
    await assert.rejects(verified(made.store), /holds no log/);
    made.close();
  });

  it('says that an import did not end', async () => {
    const made = new MadeStore(1);
    await made.append([{ ...operationRecord(Operation.LeaseGrant, 0), lease: 5n, leaseTtlSeconds: 60 }]);
    const result = await verified(made.store);
    made.close();
    assert.match(result.damages[0]!.found, /an import that did not end/);
  });

  it('names objects that are no part of it', async () => {
    const made = await MadeStore.random(SEED, 3);
    await made.store.put('chunks/readme.txt', Buffer.from('x'));
    await made.store.put('other', Buffer.from('x'));
    const result = await verified(made.store);
    made.close();
    assert.equal(result.whole, true);
    assert.deepEqual(result.notes.map(({ object }) => object).slice(-2), ['chunks/readme.txt', 'other']);
  });
});
