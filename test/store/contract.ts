import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { probeStore } from '../../src/main/store/probe.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemRandom } from '../../src/shared/base/random.ts';

const MIB = 1024 * 1024;

/** A store to test, and how many objects make its list take more than one page. */
export interface ContractSubject {
  open(): Promise<ObjectStore>;
  readonly manyObjects: number;
}

/** What every `ObjectStore` must do. `open` is called once; each test uses names of its own. */
export function describeStoreContract(name: string, subject: ContractSubject): void {
  describe(`the store contract on ${name}`, () => {
    let store: ObjectStore;
    before(async () => {
      store = await subject.open();
    });
    after(() => store.close());
    describeReadsAndWrites(() => store);
    describeCreates(() => store);
    describeLists(() => store, subject.manyObjects);
    describeMultipart(() => store);
    it('passes the probe, which leaves nothing behind', async () => {
      await probeStore(store, systemRandom);
      assert.deepEqual(await keysOf(store, 'probe/'), []);
    });
  });
}

function describeReadsAndWrites(store: () => ObjectStore): void {
  it('says undefined, not an error, for an object that does not exist', async () => {
    assert.equal(await store().get('absent/object'), undefined);
    assert.equal(await store().getRange('absent/object', 0, 10), undefined);
  });

  it('gives back every byte value, in an empty, a small and a large object', async () => {
    const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
    const bodies = [new Uint8Array(0), everyByte, new Uint8Array(randomBytes(3 * MIB + 1))];
    for (const [index, body] of bodies.entries()) {
      await store().put(`bytes/${index}`, body);
      assertSameBytes(await store().get(`bytes/${index}`), body);
    }
  });

  it('replaces the whole object on put, also by a shorter one', async () => {
    await store().put('replaced', text('a longer first body'));
    await store().put('replaced', text('short'));
    assertSameBytes(await store().get('replaced'), text('short'));
  });

  it('gives a range as far as the object goes', async () => {
    await store().put('ranged', text('0123456789'));
    assertSameBytes(await store().getRange('ranged', 0, 4), text('0123'));
    assertSameBytes(await store().getRange('ranged', 4, 3), text('456'));
    assertSameBytes(await store().getRange('ranged', 8, 100), text('89'));
    assertSameBytes(await store().getRange('ranged', 10, 5), text(''));
    assertSameBytes(await store().getRange('ranged', 1000, 5), text(''));
  });

  it('deletes, and finds nothing wrong with deleting again', async () => {
    await store().put('deleted', text('x'));
    await store().delete('deleted');
    assert.equal(await store().get('deleted'), undefined);
    await store().delete('deleted');
    await store().delete('never/there/at/all');
    assert.equal(await store().putIfAbsent('deleted', text('y')), 'created');
  });

  it('keeps keys with odd characters apart', async () => {
    const keys = ODD_NAMES.map((name) => `odd/${name}`);
    for (const key of keys) assert.equal(await store().putIfAbsent(key, text(key)), 'created', key);
    for (const key of keys) assertSameBytes(await store().get(key), text(key), key);
    assert.deepEqual(await keysOf(store(), 'odd/'), byUtf8(keys));
    for (const key of keys) await store().delete(key);
    assert.deepEqual(await keysOf(store(), 'odd/'), []);
  });

  it('refuses names that would leave its prefix', async () => {
    for (const key of ['', '/a', 'a/', 'a//b', '..', '../a', 'a/../b', './a', 'a\0b', '\ud800']) {
      await assert.rejects(store().get(key), { name: 'StoreError', kind: 'fatal' }, JSON.stringify(key));
      await assert.rejects(store().putIfAbsent(key, text('x')), { name: 'StoreError', kind: 'fatal' });
    }
  });

  it('does nothing when its signal was aborted before, and says the reason', async () => {
    const reason = new Error('given up');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(store().putIfAbsent('aborted', text('x'), signal), reason);
    await assert.rejects(store().put('aborted', text('x'), signal), reason);
    await assert.rejects(store().get('aborted', signal), reason);
    assert.equal(await store().get('aborted'), undefined);
  });
}

const ODD_NAMES = [
  'plain',
  'with space',
  'plus+sign',
  'percent%41',
  'ampersand&amp;',
  'quotes\'"',
  '<angle>',
  'question?mark=1',
  'hash#tag',
  'semi;colon,comma@at:$',
  'parens(1)*!',
  'tilde~under_score-dash.dot',
  'ünïcödé',
  '\u{fffd}replacement',
  '\u{1f600}emoji',
  'back\\slash',
  '=equals',
];

function describeCreates(store: () => ObjectStore): void {
  it('creates a name once and leaves the first object alone', async () => {
    assert.equal(await store().putIfAbsent('once', text('first')), 'created');
    assert.equal(await store().putIfAbsent('once', text('second')), 'exists');
    assert.equal(await store().putIfAbsent('once', text('first')), 'exists');
    assertSameBytes(await store().get('once'), text('first'));
  });

  it('lets exactly one of many creators at once win, and keeps what the winner wrote', async () => {
    for (let round = 0; round < 40; round++) {
      const key = `race/${round}`;
      const bodies = Array.from({ length: 8 }, () => new Uint8Array(randomBytes(1 + round * 100)));
      const answers = await Promise.all(bodies.map((body) => store().putIfAbsent(key, body)));
      const winners = bodies.filter((_, i) => answers[i] === 'created');
      assert.equal(winners.length, 1, `round ${round}: ${answers.join()}`);
      assertSameBytes(await store().get(key), winners[0]!);
    }
  });

  it('shows a created object to a reader at once, whole', async () => {
    const body = new Uint8Array(randomBytes(2 * MIB));
    const seen: Array<Uint8Array | undefined> = [];
    const writing = store().putIfAbsent('whole', body);
    const reader = (async () => {
      while (seen.at(-1) === undefined) seen.push(await store().get('whole'));
    })();
    assert.equal(await writing, 'created');
    await reader;
    assertSameBytes(seen.at(-1), body);
  });

  it('takes many creates at once', async () => {
    const keys = Array.from({ length: 128 }, (_, i) => `burst/${String(i).padStart(4, '0')}`);
    const answers = await Promise.all(keys.map((key) => store().putIfAbsent(key, text(key))));
    assert.ok(answers.every((answer) => answer === 'created'));
    assert.deepEqual(await keysOf(store(), 'burst/'), keys);
  });
}

function describeLists(store: () => ObjectStore, manyObjects: number): void {
  it('lists in the order of UTF-8 bytes, with sizes, also where a directory sorts among names', async () => {
    const names = ['b', 'a.txt', 'a0', 'a/z', 'a/b/c', 'a-', 'B', '\u{1f600}', '\u{fffd}', 'é', 'z/y'];
    const keys = names.map((name) => `order/${name}`);
    for (const key of keys) await store().put(key, text(key));
    const listed: string[] = [];
    for await (const { key, size } of store().list('order/')) {
      listed.push(key);
      assert.equal(size, text(key).length);
    }
    assert.deepEqual(listed, byUtf8(keys));
  });

  it('lists when objects were written, later ones not before earlier ones', async () => {
    const times: number[] = [];
    for (const body of ['first', 'second']) {
      await store().put('time/object', text(body));
      for await (const { modifiedMs } of store().list('time/')) times.push(modifiedMs);
    }
    assert.ok(times.length === 2 && times[1]! >= times[0]!, times.join());
    assert.ok(Math.abs(times[1]! - Date.now()) < 3_600_000, 'a time of today');
  });

  it('lists only what begins with the prefix and comes after the start, from each key on', async () => {
    const keys = await keysOf(store(), 'order/');
    for (const [index, key] of keys.entries()) {
      assert.deepEqual(await keysOf(store(), 'order/', key), keys.slice(index + 1), key);
    }
    const within = keys.filter((key) => key.startsWith('order/a'));
    assert.deepEqual(await keysOf(store(), 'order/a'), within);
    assert.deepEqual(
      await keysOf(store(), 'order/a', 'order/a/m'),
      within.filter((key) => key > 'order/a/m'),
    );
    assert.deepEqual(
      await keysOf(store(), 'order/', 'order/a0-is-no-key'),
      keysAfter(keys, 'order/a0-is-no-key'),
    );
    assert.deepEqual(await keysOf(store(), 'nothing/here'), []);
  });

  it('lists more objects than fit into one page, from the start and from the middle', async () => {
    const keys = Array.from({ length: manyObjects }, (_, i) => `many/${String(i).padStart(19, '0')}.netsy`);
    for (let start = 0; start < keys.length; start += 100) {
      await Promise.all(keys.slice(start, start + 100).map((key) => store().put(key, text(''))));
    }
    assert.deepEqual(await keysOf(store(), 'many/'), keys);
    assert.deepEqual(
      await keysOf(store(), 'many/', keys[Math.max(0, manyObjects - 50)]),
      keys.slice(Math.max(0, manyObjects - 50) + 1),
    );
  });

  it('can stop a list early', async () => {
    for await (const { key } of store().list('many/')) {
      assert.ok(key.startsWith('many/'));
      break;
    }
  });
}

function describeMultipart(store: () => ObjectStore): void {
  it('joins parts of any sizes into one object, and replaces what was there', async () => {
    const sizes = [0, 1, 5 * MIB, 3, 12 * MIB + 7, 1000, 0];
    const pieces = sizes.map((size) => new Uint8Array(randomBytes(size)));
    await store().put('multipart/large', text('before'));
    await store().putMultipart('multipart/large', stream(pieces));
    assertSameBytes(await store().get('multipart/large'), Buffer.concat(pieces));
    await store().putMultipart('multipart/small', stream([text('a'), text('bc')]));
    assertSameBytes(await store().get('multipart/small'), text('abc'));
    await store().putMultipart('multipart/empty', stream([]));
    assertSameBytes(await store().get('multipart/empty'), text(''));
  });

  it('leaves nothing behind, and what was there alone, when the parts fail midway', async () => {
    const failure = new Error('the disk of the builder is full');
    async function* failing(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(20 * MIB);
      throw failure;
    }
    await assert.rejects(store().putMultipart('broken/absent', failing()), failure);
    assert.equal(await store().get('broken/absent'), undefined);
    await store().put('broken/present', text('kept'));
    await assert.rejects(store().putMultipart('broken/present', failing()), failure);
    assertSameBytes(await store().get('broken/present'), text('kept'));
    assert.deepEqual(await keysOf(store(), 'broken/'), ['broken/present']);
  });

  it('stops at an abort between parts, and leaves nothing behind', async () => {
    const controller = new AbortController();
    const reason = new Error('shutting down');
    async function* aborting(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(20 * MIB);
      controller.abort(reason);
      yield new Uint8Array(20 * MIB);
    }
    await assert.rejects(store().putMultipart('stopped/one', aborting(), controller.signal), reason);
    assert.deepEqual(await keysOf(store(), 'stopped/'), []);
  });
}

/** All keys of a list. */
export async function keysOf(store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, startAfter)) keys.push(key);
  return keys;
}

/** A string as UTF-8 bytes. */
export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function assertSameBytes(actual: Uint8Array | undefined, expected: Uint8Array, what = 'the object'): void {
  assert.ok(actual !== undefined, `${what} is missing`);
  assert.ok(
    Buffer.from(actual).equals(expected),
    `${what}: ${actual.length} bytes differ from ${expected.length}`,
  );
}

function byUtf8(keys: readonly string[]): string[] {
  return [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function keysAfter(keys: readonly string[], start: string): string[] {
  return keys.filter((key) => Buffer.compare(Buffer.from(key), Buffer.from(start)) > 0);
}

async function* stream(pieces: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* pieces;
}
