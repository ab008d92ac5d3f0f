import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  beginUnsynced,
  endUnsynced,
  isOnLocalFileSystem,
  isUnsynced,
  mayBeTorn,
} from '../../src/shared/base/unsynced.ts';
import { discardCache, openToFill, openToWrite } from '../../src/workers/sqlite/database.ts';
import { temporaryDirectory } from '../support/netsy.ts';

const place = (): string => join(temporaryDirectory(), 'cache.sqlite');
const isLocal = beginUnsynced(place());
const local = {
  skip: isLocal ? false : 'the directory of temporary files is not on a local file system of Linux',
};

describe('a file that is not synced while the system is up', local, () => {
  it('is marked until it is synced, and the mark of another boot means that it may be torn', async () => {
    const file = place();
    writeFileSync(file, 'written');
    assert.ok(!isUnsynced(file) && !mayBeTorn(file), 'a file without a mark was synced');
    assert.ok(beginUnsynced(file));
    assert.ok(isUnsynced(file) && !mayBeTorn(file));
    await endUnsynced(file, [`${file}-wal`]);
    assert.ok(!isUnsynced(file) && !mayBeTorn(file));
    assert.ok(!existsSync(`${file}-boot`));

    writeFileSync(`${file}-boot`, `${randomUUID()}\n`);
    assert.ok(!isUnsynced(file) && mayBeTorn(file));
    await endUnsynced(file);
    assert.ok(mayBeTorn(file), 'what another boot left is not made whole by a sync');
    writeFileSync(`${file}-boot`, '');
    assert.ok(mayBeTorn(file), 'a mark that was cut short');
  });

  it('can not be trusted when its last sync failed', async () => {
    const file = place();
    writeFileSync(file, 'written');
    assert.ok(beginUnsynced(file));
    // What is no file can't be opened to be synced.
    mkdirSync(`${file}-wal`);
    await assert.rejects(endUnsynced(file, [`${file}-wal`]), { code: 'EISDIR' });
    assert.ok(mayBeTorn(file) && !isUnsynced(file));
  });

  it('has to be synced where the file system is not the machine’s own, or takes no mark', () => {
    assert.equal(isOnLocalFileSystem('/proc/self/cache.sqlite'), false);
    assert.equal(beginUnsynced('/proc/self/cache.sqlite'), false);
    const file = place();
    assert.ok(isOnLocalFileSystem(file));
    mkdirSync(`${file}-boot`);
    assert.equal(beginUnsynced(file), false);
    assert.ok(!isUnsynced(file) && mayBeTorn(file), 'what a mark says that can’t be read is not known');
  });
});

describe('the cache', local, () => {
  const synchronousOf = (file: string): unknown => {
    const connection = openToWrite(file);
    const mode = connection.pragma('synchronous', { simple: true });
    connection.close();
    return mode;
  };

  it('is marked before it is written without syncs, also when it is filled', () => {
    const file = place();
    assert.equal(synchronousOf(file), 0);
    assert.ok(isUnsynced(file));
    const filled = place();
    openToFill(filled).close();
    assert.ok(isUnsynced(filled));
  });

  it('is synced where it takes no mark', () => {
    const file = place();
    mkdirSync(`${file}-boot`);
    assert.equal(synchronousOf(file), 1);
  });

  it('that takes the place of one from another boot is not taken for torn where it is synced', () => {
    const file = place();
    // It can be read, and taken away, but not written.
    symlinkSync('/proc/version', `${file}-boot`);
    assert.ok(mayBeTorn(file));
    openToFill(file).close();
    assert.ok(!mayBeTorn(file) && !isUnsynced(file));
    discardCache(file);
    assert.equal(synchronousOf(file), 0, 'without that mark it takes one');
  });

  it('is refused when the system ended since, and its mark outlives it when it is thrown away', () => {
    const file = place();
    synchronousOf(file);
    const boot = readFileSync(`${file}-boot`, 'utf8');
    writeFileSync(`${file}-boot`, `${randomUUID()}\n`);
    assert.throws(() => openToWrite(file), /the system ended before all of it was on the disk/);
    discardCache(file);
    // A power cut may bring back what was removed.
    assert.ok(existsSync(`${file}-boot`));
    assert.equal(synchronousOf(file), 0);
    assert.equal(readFileSync(`${file}-boot`, 'utf8'), boot);
  });
});
