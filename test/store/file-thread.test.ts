import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { openFileStore } from '../../src/main/store/file.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { InThread } from '../support/file-thread.ts';
import { text } from './contract.ts';

const MIB = 1024 * 1024;
const options = { clock: systemClock, random: systemRandom };

describe("the thread of the directory store's files", () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'netsy-store-'));
  });
  after(() => rm(root, { recursive: true, force: true }));

  /** A store whose disk hangs until the test lets it go. */
  const hung = async (name: string) => {
    const release: (() => void)[] = [];
    let isHung = true;
    const hold =
      (call: typeof fs.fsync) =>
      (file: number, done: (error: unknown) => void): void => {
        if (isHung) release.push(() => call(file, done));
        else call(file, done);
      };
    const calls = { ...fs, fsync: hold(fs.fsync), fdatasync: hold(fs.fdatasync) };
    const thread = new InThread(calls);
    await mkdir(join(root, name, 'chunks'), { recursive: true });
    const store = await openFileStore(join(root, name), { ...options, startThread: () => thread });
    const letGo = (): void => {
      isHung = false;
      for (const go of release.splice(0)) go();
    };
    return { store, thread, letGo };
  };

  it('tells the thread which create nothing else waits for', async () => {
    const { store, thread, letGo } = await hung('alone');
    const creates = [1, 2].map((number) => store.putIfAbsent(`chunks/${number}`, text('x')));
    letGo();
    await Promise.all(creates);
    await store.putIfAbsent('chunks/3', text('x'));
    const alone = thread.requests.map((request) => request.type === 'create' && request.isAlone);
    assert.deepEqual(alone, [true, false, true]);
  });

  it('holds a bounded part of what is asked while the disk hangs; the rest can be given up, and is not done', async () => {
    const { store, thread, letGo } = await hung('hung');
    const controller = new AbortController();
    const given = new Error('given up');
    const body = new Uint8Array(5 * MIB);
    const large = Array.from({ length: 10 }, (_, i) =>
      store.putIfAbsent(`chunks/large-${i}`, body, controller.signal),
    );
    assert.equal(thread.requests.length, 6, '30 MiB of them');
    const small = Array.from({ length: 100 }, (_, i) => store.putIfAbsent(`chunks/small-${i}`, text('x')));
    assert.ok(thread.requests.length <= 64);
    controller.abort(given);
    letGo();
    const answers = await Promise.allSettled(large);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [...Array(6).fill('fulfilled'), ...Array(4).fill('rejected')],
    );
    assert.deepEqual(new Set(await Promise.all(small)), new Set(['created']));
    const names = await readdir(join(root, 'hung', 'chunks'));
    assert.equal(names.filter((name) => name.startsWith('large')).length, 6);
    await store.close();
  });

  it('closes after what was asked before', async () => {
    const { store, letGo } = await hung('closing');
    const creates = Array.from({ length: 70 }, (_, i) => store.putIfAbsent(`chunks/${i}`, text('x')));
    let isClosed = false;
    const closing = store.close().finally(() => {
      isClosed = true;
    });
    await systemClock.sleep(10);
    assert.equal(isClosed, false);
    letGo();
    await closing;
    assert.deepEqual(new Set(await Promise.all(creates)), new Set(['created']));
  });

  it('says that nothing can be written any more when the thread ends', async () => {
    const { store, thread, letGo } = await hung('ended');
    const lost = store.putIfAbsent('chunks/1', text('x'));
    thread.heard.error?.(new Error('out of memory'));
    thread.heard.exit?.();
    const expected = { name: 'StoreError', kind: 'fatal', message: /files failed: out of memory$/ };
    await assert.rejects(lost, expected);
    await assert.rejects(store.putIfAbsent('chunks/2', text('x')), expected);
    await assert.rejects(store.delete('chunks/1'), expected);
    letGo();
    await store.close();
  });

  it('lets a process end that did not close its store, and not before what it awaits is done', async () => {
    const module = new URL('../../src/main/store/file.js', import.meta.url).href;
    const clock = new URL('../../src/shared/base/clock.js', import.meta.url).href;
    const random = new URL('../../src/shared/base/random.js', import.meta.url).href;
    const program = `(async () => {
      const { openFileStore } = await import(${JSON.stringify(module)});
      const { systemClock: clock } = await import(${JSON.stringify(clock)});
      const { systemRandom: random } = await import(${JSON.stringify(random)});
      const store = await openFileStore(${JSON.stringify(join(root, 'unclosed'))}, { clock, random });
      console.log(await store.putIfAbsent('chunks/1', new Uint8Array(10)));
      console.log(await store.putIfAbsent('chunks/1', new Uint8Array(10)));
    })()`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program]);
    assert.equal(stdout, 'created\nexists\n');
  });
});
