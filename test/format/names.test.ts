import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkKey, parseChunkKey, parseSnapshotKey, snapshotKey } from '../../src/shared/format/names.ts';

test('keys sort as their sequences do, and parse back', () => {
  const sequences = [1, 9, 10, 62, 99_999, 2 ** 32, Number.MAX_SAFE_INTEGER];
  const keys = sequences.map(chunkKey);
  assert.equal(keys[0], 'chunks/0000000000000000001.netsy');
  assert.deepEqual([...keys].sort(), keys);
  assert.deepEqual(keys.map(parseChunkKey), sequences);
  assert.equal(snapshotKey(40), 'snapshots/0000000000000000040.netsy');
  assert.deepEqual(sequences.map(snapshotKey).map(parseSnapshotKey), sequences);
});

test('a key that is not one of ours exactly is not taken for one', () => {
  const others = [
    'chunks/1.netsy',
    'chunks/0000000000000000000.netsy',
    'chunks/9999999999999999999.netsy',
    'chunks/0001/0000000000000000001.netsy',
    'chunks/0000000000000000001.netsy.tmp',
    'chunks/0000000000000000001.netsy\n',
    'chunks/+000000000000000001.netsy',
    'snapshots/0000000000000000001.netsy',
    'a/chunks/0000000000000000001.netsy',
    '',
  ];
  for (const other of others) assert.equal(parseChunkKey(other), undefined, other);
  assert.equal(parseSnapshotKey('chunks/0000000000000000001.netsy'), undefined);
});

test('a sequence that can have no object is a broken invariant', () => {
  for (const sequence of [0, -1, 1.5, Number.NaN, 2 ** 53])
    assert.throws(() => chunkKey(sequence), /sequence/);
});
