import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ObjectInfo, ReadableStore } from '../../src/main/store/store.ts';
import {
  CHUNKS_PREFIX,
  chunkKey,
  LEASES_PREFIX,
  leaseKey,
  SNAPSHOTS_PREFIX,
  snapshotKey,
} from '../../src/shared/format/names.ts';
import { Operation, operationRecord } from '../../src/shared/model/record.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { MadeStore } from './made-store.ts';
import { status } from './verified.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

async function odd(store: ReadableStore): Promise<string> {
  return (await status(store)).odd.map(({ object, what }) => `${object}: ${what}`).join('\n');
}

describe('netsy status', { timeout: 60_000 }, () => {
  it('says that a store is empty', async () => {
    const { empty, end, primary, snapshots, objects, odd: nothing, cost } = await status(new MemoryStore());
    assert.deepEqual([empty, end, primary, snapshots, nothing], [true, undefined, undefined, [], []]);
    assert.deepEqual(objects.all, { objects: 0, bytes: 0 });
    assert.deepEqual([cost.storagePerMonth, cost.putsPerMonth], [0, 0]);
  });

  it('says what is in it, by kind, and what that costs', async (test) => {
    test.diagnostic(`SEED=${SEED}`);
    const made = await MadeStore.random(SEED, 40);
    await made.put('one', 'value');
    const revision = made.revision();
    const last = await made.snapshot();
    await made.lease();
    const found = await status(made.store);
    let [bytes, count] = [0, 0];
    for await (const { size } of made.store.list('')) [bytes, count] = [bytes + size, count + 1];
    made.close();
    assert.deepEqual(found.odd, []);
    assert.deepEqual([found.end?.sequence, found.end?.revision], [last, revision]);
    assert.equal(found.epoch, made.epoch);
    assert.deepEqual(
      found.snapshots.map(({ sequence }) => sequence),
      made.snapshots,
    );
    assert.equal(found.snapshots.at(-1)?.revision, revision);
    assert.equal(found.oldestRestorePoint?.sequence, 1);
    assert.deepEqual(found.objects.all, { objects: count, bytes });
    assert.equal(found.objects.leases.objects, 1);
    assert.equal(found.objects.chunks.objects, made.chunks.length + made.stragglers.length);
    assert.deepEqual([found.primary?.state, found.primary?.name], ['released', 'test']);
    // A byte and a PUT cost one here; the lease was released, so nobody renews it.
    assert.equal(Math.round(found.cost.storagePerMonth), bytes);
    assert.equal(
      found.cost.putsLastHour,
      made.chunks.length + made.stragglers.length + made.snapshots.length,
    );
    assert.equal(found.cost.putsPerMonth, found.cost.putsLastHour * 730);
  });

  it('tells the end of the log from what a replaced primary has left behind it', async (test) => {
    test.diagnostic(`SEED=${SEED}`);
    const made = await MadeStore.random(SEED, 10);
    while (made.stragglers.every((sequence) => sequence < made.chunks.at(-1)!)) await made.claim();
    const found = await status(made.store);
    made.close();
    assert.deepEqual([found.end?.sequence, found.epoch], [made.chunks.at(-1), made.epoch]);
    assert.deepEqual(found.odd, []);
  });

  it('reads of a large store only the list and a few objects', async () => {
    const made = await MadeStore.random(SEED, 80);
    let reads = 0;
    const counting = new Proxy(made.store, {
      get: (target, name: keyof MemoryStore) => {
        if (name === 'get' || name === 'getRange') reads++;
        const value = target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await status(counting);
    made.close();
    assert.ok(reads <= made.snapshots.length + 40, `${reads} reads`);
  });

  it('says from where on it can be restored when its beginning is deleted', async () => {
    const made = await MadeStore.random(SEED, 30);
    await made.put('one', 'value');
    const revision = made.revision();
    const base = await made.snapshot();
    for (const sequence of made.snapshots.slice(0, -1)) await made.store.delete(snapshotKey(sequence));
    for (const sequence of [...made.chunks, ...made.stragglers]) await made.store.delete(chunkKey(sequence));
    const found = await status(made.store);
    made.close();
    assert.deepEqual(
      [found.oldestRestorePoint?.sequence, found.oldestRestorePoint?.revision, found.end?.revision],
      [base, revision, revision],
    );
  });

  it('says what is odd', async () => {
    const made = await MadeStore.random(SEED, 20);
    await made.put('one', 'value');
    const last = await made.snapshot();
    const damages: Readonly<Record<string, readonly [(store: MemoryStore) => Promise<unknown>, RegExp]>> = {
      'an unknown object': [(store) => store.put('x/y', Buffer.from('x')), /^x\/y: not an object of netsy/],
      "a probe's": [(store) => store.put('probe/1-1', Buffer.from('x')), /^probe\/1-1: left by the probe/],
      'a damaged snapshot': [
        (store) => store.put(snapshotKey(last), Buffer.from('x')),
        new RegExp(`^${snapshotKey(last)}: is damaged`),
      ],
      'a damaged last chunk': [
        (store) => store.put(chunkKey(last), Buffer.from('x')),
        new RegExp(`^${chunkKey(last)}: is damaged`),
      ],
      'a log that has lost its end': [
        (store) => store.delete(chunkKey(last)),
        /chunks (after this one )?have been lost/,
      ],
      'a lease that is none': [(store) => store.put(leaseKey(2), Buffer.from('x')), /can not be read/],
    };
    for (const [what, [damage, expected]] of Object.entries(damages)) {
      const store = await made.copy();
      assert.equal(await odd(store), '', 'nothing before');
      await damage(store);
      assert.match(await odd(store), expected, what);
    }
    made.close();
  });

  it('takes nothing that a server writes while it reads for lost', async () => {
    for (const written of [LEASES_PREFIX, SNAPSHOTS_PREFIX]) {
      const made = await MadeStore.random(SEED, 20);
      const write = async (): Promise<void> => {
        await made.put('one', 'value');
        await made.put('two', 'value');
        if (written === LEASES_PREFIX) await made.lease();
        else await made.snapshot();
      };
      let wrote = false;
      const list = async function* (prefix: string): AsyncGenerator<ObjectInfo> {
        for await (const object of made.store.list(prefix)) {
          if (!wrote && !object.key.startsWith(CHUNKS_PREFIX)) {
            wrote = true;
            await write();
            // As stores list: what comes behind the place that the list has reached is in it.
            for await (const newer of made.store.list(written)) yield newer;
          }
          if (!object.key.startsWith(written)) yield object;
        }
      };
      const { url } = made.store;
      const [get, getRange] = [made.store.get.bind(made.store), made.store.getRange.bind(made.store)];
      const writing: ReadableStore = { url, get, getRange, list, close: () => made.store.close() };
      assert.equal(await odd(writing), '', written);
      made.close();
    }
  });

  it('says that an imported log can be restored from the end of the import on', async () => {
    const made = new MadeStore(1);
    for (let lease = 1n; lease < 6n; lease++) {
      await made.append([{ ...operationRecord(Operation.LeaseGrant, 0), lease, leaseTtlSeconds: 60 }]);
    }
    await made.claim([
      { ...operationRecord(Operation.ImportEnd, 0), importEnd: { revision: 40, records: 0, leases: 5 } },
    ]);
    await made.put('later', 'value');
    await made.claim();
    const { odd: nothing, oldestRestorePoint, end } = await status(made.store);
    made.close();
    assert.deepEqual(nothing, []);
    assert.deepEqual([oldestRestorePoint?.sequence, oldestRestorePoint?.revision], [6, 40]);
    assert.equal(end?.revision, 41);
  });

  it('says that an import did not end', async () => {
    const made = new MadeStore(1);
    await made.append([{ ...operationRecord(Operation.LeaseGrant, 0), lease: 5n, leaseTtlSeconds: 60 }]);
    assert.match(await odd(made.store), /an import that did not end/);
    made.close();
  });
});
