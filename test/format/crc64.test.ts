import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Crc64, crc64 } from '../../src/shared/format/crc64.ts';
import { property } from '../etcd/property.ts';

/** The definition, bit by bit. */
function slowCrc64(bytes: Uint8Array): bigint {
  const ones = (1n << 64n) - 1n;
  let crc = ones;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) * 0xc96c_5795_d787_0f42n);
  }
  return crc ^ ones;
}

const bytes = fc.uint8Array({ maxLength: 700 });

test("Go's check value: CRC64 of 123456789", () => {
  assert.equal(crc64(Buffer.from('123456789')), 0x995d_c9bb_df19_39fan);
  assert.equal(crc64(new Uint8Array(0)), 0n);
});

property('CRC64 is what the definition gives, bit by bit', bytes, (input) => {
  assert.equal(crc64(input), slowCrc64(input));
});

property('a part of a buffer has the CRC64 of a copy of it', fc.tuple(bytes, fc.nat(), fc.nat()), (input) => {
  const [whole, a, b] = input;
  const [start, end] = [a % (whole.length + 1), b % (whole.length + 1)].sort((x, y) => x - y);
  assert.equal(crc64(whole, start, end), slowCrc64(whole.slice(start, end)));
});

property('pieces give the CRC64 of the whole', fc.array(bytes, { maxLength: 6 }), (pieces) => {
  const crc = new Crc64();
  for (const piece of pieces) crc.update(piece);
  assert.equal(crc.digest(), slowCrc64(Buffer.concat(pieces)));
});

property(
  'CRCs of pieces appended give the CRC64 of the whole',
  fc.array(bytes, { maxLength: 6 }),
  (pieces) => {
    const crc = new Crc64();
    for (const piece of pieces) crc.append(new Crc64().update(piece), piece.length);
    assert.equal(crc.digest(), slowCrc64(Buffer.concat(pieces)));
  },
);

test('appending bytes past one and two base-256 digits of length', () => {
  for (const length of [255, 256, 257, 65_535, 65_536, 65_537, 16_777_217]) {
    const second = new Uint8Array(length).fill(0xa5);
    const whole = new Crc64().update(Buffer.from('first')).update(second);
    const appended = new Crc64().update(Buffer.from('first')).append(new Crc64().update(second), length);
    assert.equal(appended.digest(), whole.digest(), `length ${length}`);
  }
});
