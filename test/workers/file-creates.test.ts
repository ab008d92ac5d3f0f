import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FileAnswer } from '../../src/workers/contract/file.ts';
import type { FileCalls } from '../../src/workers/file/calls.ts';
import { Creates } from '../../src/workers/file/creates.ts';

const DIRECTORY = '/store/chunks';
const PIECE_BYTES = 1500;

interface File {
  bytes: Uint8Array;
  /** What a power cut leaves of it. */
  durable: Uint8Array | undefined;
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/**
 * A disk that keeps through a power cut exactly what was synced, ends its syncs in any order, and forgets what it
 * could not write once it has said so. One writer's calls: short writes, too.
 */
class Disk implements FileCalls {
  readonly names = new Map<string, File>();
  /** Of the one directory, what a power cut leaves. */
  readonly durableNames = new Map<string, File>();
  readonly #lost = new Set<string>();
  readonly #open = new Map<number, File | 'directory'>();
  #files = 0;
  readonly underWay: ((fails: boolean) => void)[] = [];
  /** Names that a power cut might leave without their bytes. */
  readonly torn: string[] = [];
  /** Names that had nothing any more to tell that a power cut might take them. */
  readonly hasty: string[] = [];
  /** Whether the next sync fails that is waited for. */
  failsHere = false;
  /** The most that a sync of a file had to write. */
  unsyncedMax = 0;
  /** Bytes that are left. */
  room = Infinity;

  get filesOpen(): number {
    return [...this.#open.values()].filter((file) => file !== 'directory').length;
  }

  openSync(path: string): number {
    const file = path === DIRECTORY ? 'directory' : { bytes: new Uint8Array(0), durable: undefined };
    if (file !== 'directory') {
      if (this.names.has(path)) throw failure('EEXIST');
      this.names.set(path, file);
    }
    this.#open.set(this.#files, file);
    return this.#files++;
  }

  writeSync(number: number, bytes: Uint8Array, offset: number, length: number): number {
    const file = this.#file(number);
    const taken = Math.min(length, 1000, this.room);
    if (taken === 0) throw failure('ENOSPC');
    this.room -= taken;
    file.bytes = Buffer.concat([file.bytes, bytes.subarray(offset, offset + taken)]);
    this.unsyncedMax = Math.max(this.unsyncedMax, file.bytes.length - (file.durable?.length ?? 0));
    return taken;
  }

  fdatasync(number: number, done: (error: unknown) => void, here = false): void {
    const file = this.#file(number);
    const { bytes } = file;
    this.#sync(here, (fails) => {
      if (!fails) file.durable = bytes;
      done(fails ? failure('EIO') : null);
    });
  }

  fsync(number: number, done: (error: unknown) => void, here = false): void {
    assert.equal(this.#open.get(number), 'directory');
    const names = [...this.names].filter(([path]) => path.startsWith(DIRECTORY));
    this.#sync(here, (fails) => {
      for (const [path, file] of names) {
        if (fails && !this.durableNames.has(path)) this.#lost.add(path);
        if (!this.#lost.has(path)) this.durableNames.set(path, file);
      }
      done(fails ? failure('EIO') : null);
    });
  }

  #sync(here: boolean, end: (fails: boolean) => void): void {
    if (!here) {
      this.underWay.push(end);
      return;
    }
    assert.equal(this.underWay.length, 0, 'nothing else waits meanwhile');
    const fails = this.failsHere;
    this.failsHere = false;
    end(fails);
  }

  closeSync(number: number): void {
    assert.ok(this.#open.delete(number), 'closed once');
  }

  linkSync(existing: string, path: string): void {
    const file = this.names.get(existing)!;
    // From here on a reader may see it, and the name may be on the disk at any time.
    if (!file.durable || !Buffer.from(file.bytes).equals(file.durable)) this.torn.push(path);
    if (this.names.has(path)) throw failure('EEXIST');
    this.names.set(path, file);
  }

  unlinkSync(path: string): void {
    const file = this.names.get(path);
    this.names.delete(path);
    for (const [name, other] of this.names) {
      if (other === file && this.durableNames.get(name) !== file) this.hasty.push(name);
    }
  }

  #file(number: number): File {
    const file = this.#open.get(number);
    assert.ok(file !== undefined && file !== 'directory', 'an open file');
    return file;
  }
}

/** Some creates, in what order the disk does what it was given, which of that fails, and how much room there is. */
const story = fc.record({
  creates: fc.array(fc.record({ name: fc.nat(5), length: fc.nat(4000) }), { minLength: 1, maxLength: 12 }),
  steps: fc.array(fc.record({ next: fc.boolean(), pick: fc.nat(), fails: fc.integer({ min: 0, max: 9 }) }), {
    minLength: 100,
    maxLength: 100,
  }),
  room: fc.oneof(fc.constant(Infinity), fc.nat(10_000)),
});

test('whenever the power is cut: every name is a whole file, and what was answered is there', () => {
  fc.assert(
    fc.property(story, ({ creates, steps, room }) => {
      const disk = new Disk();
      disk.room = room;
      const bodies = creates.map(({ length }, id) => new Uint8Array(length).fill(id + 1));
      const pathOf = (id: number): string => `${DIRECTORY}/${creates[id]!.name}`;
      const answers = new Map<number, FileAnswer['type']>();
      const work = new Creates(
        disk,
        (told) => {
          for (const { id, type } of told) {
            assert.ok(!answers.has(id), 'answered once');
            answers.set(id, type);
            const kept = disk.durableNames.get(pathOf(id))?.durable;
            if (type === 'created') assert.deepEqual(kept && Buffer.from(kept), Buffer.from(bodies[id]!));
            if (type === 'exists') assert.ok(kept !== undefined, 'what exists is durable');
          }
        },
        PIECE_BYTES,
      );
      let begun = 0;
      for (const { next, pick, fails } of steps) {
        if ((next || disk.underWay.length === 0) && begun < creates.length) {
          const [id, body] = [begun, bodies[begun]!];
          const isAlone = disk.underWay.length === 0 && pick % 3 > 0;
          disk.failsHere = isAlone && fails === 0;
          const temporary = `/store/.tmp/${id}`;
          work.create({ type: 'create', id, temporary, path: pathOf(id), body, isAlone });
          begun++;
        } else disk.underWay.splice(pick % disk.underWay.length, 1)[0]?.(fails === 0);
      }
      while (disk.underWay.length > 0) disk.underWay.shift()!(false);
      assert.equal(answers.size, begun, 'all are answered');
      assert.deepEqual(disk.torn, []);
      assert.deepEqual(disk.hasty, []);
      assert.ok(disk.unsyncedMax <= PIECE_BYTES, `${disk.unsyncedMax} bytes in one sync`);
      assert.equal(disk.filesOpen, 0);
      const left = [...disk.names.keys()].filter((path) => path.includes('.tmp'));
      const unsynced = [...answers.values()].filter((type) => type === 'unsynced');
      assert.equal(left.length, unsynced.length, 'temporary names that are left');
    }),
    { numRuns: 2000 },
  );
});

test('a disk that is full fails the create that found it so, and none beside it', () => {
  const disk = new Disk();
  disk.room = 10;
  const told: FileAnswer[] = [];
  const work = new Creates(disk, (answers) => told.push(...answers));
  for (const [id, length] of [4, 100, 4].entries()) {
    const body = new Uint8Array(length);
    if (id === 2) disk.room = 4;
    const [temporary, path] = [`/store/.tmp/${id}`, `${DIRECTORY}/${id}`];
    work.create({ type: 'create', id, temporary, path, body, isAlone: false });
  }
  while (disk.underWay.length > 0) disk.underWay.shift()!(false);
  const sorted = told.sort((a, b) => a.id - b.id);
  assert.deepEqual(sorted, [
    { type: 'created', id: 0 },
    { type: 'failed', id: 1, code: 'ENOSPC', message: 'ENOSPC' },
    { type: 'created', id: 2 },
  ]);
});
