import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openFileStore } from '../../src/main/store/file.ts';
import { storeErrorOf } from '../../src/main/store/file-errors.ts';
import { probeStore } from '../../src/main/store/probe.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { SYNCED_BYTES_MAX } from '../../src/shared/model/limits.ts';
import type { FileCalls } from '../../src/workers/file/calls.ts';
import { InThread } from '../support/file-thread.ts';
import { describeStoreContract, keysOf, text } from './contract.ts';

const options = { clock: systemClock, random: systemRandom };

interface Handles {
  write(bytes: Uint8Array, offset: number, length: number): Promise<{ bytesWritten: number }>;
  datasync(): Promise<void>;
  sync(): Promise<void>;
}

describe('the directory store', () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'netsy-store-'));
  });
  after(() => rm(root, { recursive: true, force: true }));

  describeStoreContract('a directory', {
    open: () => openFileStore(join(root, 'contract', 'nested'), options),
    manyObjects: 1_100,
  });

  const opened = async (name: string): Promise<{ directory: string; store: ObjectStore }> => {
    const directory = join(root, name);
    return { directory, store: await openFileStore(directory, options) };
  };

  it('makes its directory for its user only', async () => {
    const { directory, store } = await opened('private');
    assert.equal((await stat(directory)).mode & 0o777, 0o700);
    await store.put('a/b', text('x'));
    assert.equal((await stat(join(directory, 'a'))).mode & 0o777, 0o700);
    assert.equal((await stat(join(directory, 'a', 'b'))).mode & 0o777, 0o600);
    await store.close();
  });

  it('leaves no temporary file of any write, whether it won, lost or failed', async () => {
    const { directory, store } = await opened('tidy');
    await store.putIfAbsent('a', text('1'));
    await store.putIfAbsent('a', text('2'));
    await store.put('b', text('3'));
    await assert.rejects(store.put('a/under-a-file', text('4')), { kind: 'fatal' });
    await store.close();
    assert.deepEqual(await readdir(join(directory, '.tmp')), []);
  });

  it('syncs large files a piece at a time, whatever their parts', async (test) => {
    const { directory, store } = await opened('pieces');
    await store.put('a', text('1'));
    const probe = await open(join(directory, 'a'));
    const handles = Object.getPrototypeOf(probe) as Handles;
    await probe.close();
    let [unsynced, most] = [0, 0];
    const { write } = handles;
    test.mock.method(handles, 'write', async function (this: Handles, ...call: Parameters<Handles['write']>) {
      const written = await write.apply(this, call);
      unsynced += written.bytesWritten;
      most = Math.max(most, unsynced);
      return written;
    });
    for (const name of ['datasync', 'sync'] as const) {
      const sync = handles[name];
      test.mock.method(handles, name, async function (this: Handles) {
        await sync.call(this);
        unsynced = 0;
      });
    }
    const body = systemRandom.bytes(5 * SYNCED_BYTES_MAX + 7);
    const parts = [body.subarray(0, 1), body.subarray(1, 600_000), body.subarray(600_000)];
    await store.put('whole', body);
    await store.putMultipart(
      'in-parts',
      (async function* () {
        yield* parts;
      })(),
    );
    test.mock.restoreAll();
    assert.deepEqual([unsynced, most], [0, SYNCED_BYTES_MAX]);
    for (const key of ['whole', 'in-parts'])
      assert.deepEqual(Buffer.from((await store.get(key))!), Buffer.from(body));
    await store.close();
  });

  it('removes at open what a killed process left an hour ago, and not what another may be writing', async () => {
    const temporary = join(root, 'leftovers', '.tmp');
    await mkdir(temporary, { recursive: true });
    await writeFile(join(temporary, 'old'), 'x');
    await writeFile(join(temporary, 'young'), 'x');
    const longAgo = new Date(Date.now() - 2 * 3_600_000);
    await utimes(join(temporary, 'old'), longAgo, longAgo);
    const { store } = await opened('leftovers');
    assert.deepEqual(await readdir(temporary), ['young']);
    assert.deepEqual(await keysOf(store, ''), []);
    await assert.rejects(store.get('.tmp/young'), { kind: 'fatal' });
    await store.close();
  });

  it('lets one of two stores on one directory win each name', async () => {
    const first = (await opened('shared')).store;
    const second = (await opened('shared')).store;
    for (let round = 0; round < 50; round++) {
      const answers = await Promise.all([
        first.putIfAbsent(`chunks/${round}`, text('1')),
        second.putIfAbsent(`chunks/${round}`, text('2')),
      ]);
      assert.deepEqual([...answers].sort(), ['created', 'exists']);
    }
    await Promise.all([first.close(), second.close()]);
  });

  it('does not begin a new log when its directory was taken away', async () => {
    const { directory, store } = await opened('gone');
    await store.put('chunks/1', text('x'));
    await rm(directory, { recursive: true });
    await assert.rejects(store.putIfAbsent('chunks/2', text('x')), { name: 'StoreError', kind: 'no-bucket' });
    await assert.rejects(keysOf(store, ''), { name: 'StoreError', kind: 'no-bucket' });
    await assert.rejects(probeStore(store, systemRandom), { kind: 'no-bucket' });
    await store.close();
  });

  it('says in one line why a path is no directory', async () => {
    await writeFile(join(root, 'a-file'), 'x');
    await assert.rejects(openFileStore(join(root, 'a-file'), options), (error: Error) => {
      assert.match(error.message, /^cannot open the store directory .*a-file: E[A-Z]+; [^\n]+$/);
      return true;
    });
  });

  it('takes a full disk for passing, and a refused or read-only one for refusal', () => {
    const kindOf = (code: string): string =>
      storeErrorOf(Object.assign(new Error(code), { code }), 'write x').kind;
    assert.equal(kindOf('ENOSPC'), 'transient');
    assert.equal(kindOf('EDQUOT'), 'transient');
    assert.equal(kindOf('EACCES'), 'denied');
    assert.equal(kindOf('EROFS'), 'denied');
    assert.equal(kindOf('ENOTSUP'), 'unsupported');
    assert.equal(kindOf('EWHATEVER'), 'fatal');
  });

  /** A store whose directory syncs wait until the test lets them go. */
  const held = async (name: string) => {
    const waiting: Array<(error?: Error) => void> = [];
    const fsync: FileCalls['fsync'] = (file, done) => {
      waiting.push((error) => (error === undefined ? fs.fsync(file, done) : done(error)));
    };
    await mkdir(join(root, name, 'chunks'), { recursive: true });
    const startThread = () => new InThread({ ...fs, fsync });
    const store = await openFileStore(join(root, name), { ...options, startThread });
    const untilWaiting = async (count: number): Promise<void> => {
      while (waiting.length < count) await systemClock.sleep(1);
    };
    return { store, waiting, untilWaiting };
  };

  it('says created, exists, replaced or deleted only after the directory was synced', async () => {
    const { store, waiting, untilWaiting } = await held('held');
    const writes: ReadonlyArray<() => Promise<unknown>> = [
      () => store.putIfAbsent('chunks/1', text('x')),
      () => store.putIfAbsent('chunks/1', text('y')),
      () => store.put('chunks/1', text('z')),
      () => store.delete('chunks/1'),
    ];
    for (const [index, write] of writes.entries()) {
      let isAnswered = false;
      const answer = write().finally(() => {
        isAnswered = true;
      });
      await untilWaiting(index + 1);
      await systemClock.sleep(5);
      assert.equal(isAnswered, false, `write ${index}`);
      waiting[index]?.();
      await answer;
    }
    await store.close();
  });

  it('shows another process what is created only after the directory was synced, and syncs nothing to read it later', async () => {
    const writer = await held('read');
    const reader = await held('read');
    const created = writer.store.putIfAbsent('chunks/1', text('x'));
    await writer.untilWaiting(1);
    let read = 0;
    const counted = <T>(reading: Promise<T>): Promise<T> =>
      reading.finally(() => {
        read++;
      });
    const reading = counted(reader.store.get('chunks/1'));
    const ranged = counted(reader.store.getRange('chunks/1', 0, 1));
    while (read === 0 && reader.waiting.length === 0) await systemClock.sleep(1);
    await systemClock.sleep(5);
    assert.equal(read, 0);
    // Either may have been first; the other may have come while its sync ran, and then needs another.
    for (let released = 0; read < 2; ) {
      if (released < reader.waiting.length) reader.waiting[released++]?.();
      await systemClock.sleep(1);
    }
    assert.deepEqual(await reading, text('x'));
    assert.deepEqual(await ranged, text('x'));
    const syncs = reader.waiting.length;
    writer.waiting[0]?.();
    await created;
    assert.deepEqual(await reader.store.get('chunks/1'), text('x'));
    assert.equal(reader.waiting.length, syncs);
    await Promise.all([writer.store.close(), reader.store.close()]);
  });

  it('shares one later sync among all whose names came while another ran', async () => {
    const { store, waiting, untilWaiting } = await held('sharing');
    const first = store.putIfAbsent('chunks/0', text('x'));
    await untilWaiting(1);
    const others = Array.from({ length: 20 }, (_, i) => store.putIfAbsent(`chunks/${i + 1}`, text('x')));
    while ((await keysOf(store, 'chunks/')).length < 21) await systemClock.sleep(1);
    await systemClock.sleep(20);
    waiting[0]?.();
    await first;
    await untilWaiting(2);
    waiting[1]?.();
    await Promise.all(others);
    assert.equal(waiting.length, 2);
    await store.close();
  });

  it('believes no later sync of a directory that once failed to sync', async () => {
    const { store, waiting, untilWaiting } = await held('failed');
    const writing = store.putIfAbsent('chunks/1', text('x'));
    await untilWaiting(1);
    waiting[0]?.(Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }));
    await assert.rejects(writing, { name: 'StoreError', kind: 'fatal', message: /could not be synced/ });
    await assert.rejects(store.putIfAbsent('chunks/1', text('x')), { kind: 'fatal' });
    await assert.rejects(store.putIfAbsent('chunks/2', text('x')), { kind: 'fatal' });
    assert.equal(waiting.length, 1);
    await store.close();
  });

  it('keeps objects as plain files of the same bytes', async () => {
    const { directory, store } = await opened('plain');
    await store.putIfAbsent('chunks/0000000000000000001.netsy', text('body'));
    const path = join(directory, 'chunks', '0000000000000000001.netsy');
    assert.equal(await readFile(path, 'utf8'), 'body');
    await store.close();
  });
});
