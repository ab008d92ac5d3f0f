import { Reader } from '../etcd/wire.ts';
import { Fault, hex64 } from './corrupt.ts';
import { Crc64 } from './crc64.ts';

/** A message's CRC field: its bytes, and its value in signed 32-bit halves. */
interface CrcField {
  start: number;
  end: number;
  low: number;
  high: number;
}

/**
 * Checks `message` against the CRC that it states in the field of `crcTag`, wherever that stands. It covers
 * all other bytes, known fields or not. Leaves the CRC in `crc` and gives how many bytes it covers.
 * Throws `Fault`, or `MalformedMessageError` where the field can't be found.
 */
export function checkMessageCrc(message: Uint8Array, crcTag: number, crc: Crc64): number {
  const field = findField(message, crcTag);
  crc.reset();
  if (field.start > 0) crc.update(message, 0, field.start);
  if (field.end < message.length) crc.update(message, field.end);
  if (crc.low !== field.low || crc.high !== field.high) {
    throw new Fault('CRC64', hex64(digestOf(field)), hex64(crc.digest()));
  }
  return message.length - (field.end - field.start);
}

/** An absent field is 0 (proto3), and stands at the end where it hides nothing. */
function findField(message: Uint8Array, crcTag: number): CrcField {
  const reader = new Reader(message);
  while (reader.more()) {
    const start = reader.position;
    const tag = reader.tag();
    const valueStart = reader.position;
    reader.skip(tag);
    if (tag === crcTag) return readField(message, start, valueStart, reader.position);
  }
  return { start: message.length, end: message.length, low: 0, high: 0 };
}

/** The varint is known to be a valid one: at most ten bytes, at most 64 bits. */
function readField(message: Uint8Array, start: number, valueStart: number, end: number): CrcField {
  let low = 0;
  let high = 0;
  for (let position = valueStart, shift = 0; position < end; position++, shift += 7) {
    const bits = message[position]! & 0x7f;
    if (shift <= 28) low |= bits << shift;
    if (shift === 28) high = bits >>> 4;
    if (shift > 28) high |= bits << (shift - 32);
  }
  return { start, end, low, high };
}

function digestOf(field: CrcField): bigint {
  const crc = new Crc64();
  crc.low = field.low;
  crc.high = field.high;
  return crc.digest();
}
