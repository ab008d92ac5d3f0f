import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkChain } from '../../src/shared/format/chain.ts';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import { sampleHeader } from './samples.ts';

const link = { sequence: 4, crc: 0xabn };

function following(sequence: number, previousChunkCrc: bigint) {
  return { ...sampleHeader({ sequence, previousChunkCrc }), recordsCount: 1 };
}

test('a chunk that names its predecessor follows it, also past a gap that a takeover leaves', () => {
  checkChain(link, following(5, 0xabn));
  checkChain(link, following(70, 0xabn));
  checkChain({ sequence: 0, crc: 0n }, following(1, 0n));
});

test('a chunk of another chain is refused, and both chunks are named', () => {
  assert.throws(() => checkChain(link, following(5, 0xacn)), {
    name: 'CorruptFileError',
    object: 'chunks/0000000000000000005.netsy',
    message:
      /05\.netsy.*expected 0x00000000000000ab \(chunks\/0000000000000000004\.netsy\), found 0x00000000000000ac/,
  });
});

test('a sequence that does not rise is refused', () => {
  assert.throws(() => checkChain(link, following(4, 0xabn)), CorruptFileError);
  assert.throws(() => checkChain(link, following(0, 0xabn)), CorruptFileError);
});
