/**
 * CRC-32C (Castagnoli), reflected, all ones before and after: Go's `crc32.MakeTable(crc32.Castagnoli)`. Eight bytes
 * are taken per step ("slicing by 8").
 */

const POLYNOMIAL = 0x82f6_3b78 | 0;
const SLICES = 8;

/** Entry 256 × s + b: what byte b does to the CRC when s more bytes follow it. */
const TABLE = new Int32Array(SLICES * 256);

function fillTable(): void {
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & -(crc & 1));
    TABLE[byte] = crc;
  }
  for (let entry = 256; entry < TABLE.length; entry++) {
    const crc = TABLE[entry - 256]!;
    TABLE[entry] = (crc >>> 8) ^ TABLE[crc & 0xff]!;
  }
}
fillTable();

/** The CRC of `bytes`, or of what gave `crc` and then `bytes`; unsigned. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let state = ~crc;
  let position = 0;
  for (const last = bytes.length - 8; position <= last; position += 8) {
    const a = view.getInt32(position, true) ^ state;
    const b = view.getInt32(position + 4, true);
    state =
      TABLE[1792 + (a & 0xff)]! ^
      TABLE[1536 + ((a >>> 8) & 0xff)]! ^
      TABLE[1280 + ((a >>> 16) & 0xff)]! ^
      TABLE[1024 + (a >>> 24)]! ^
      TABLE[768 + (b & 0xff)]! ^
      TABLE[512 + ((b >>> 8) & 0xff)]! ^
      TABLE[256 + ((b >>> 16) & 0xff)]! ^
      TABLE[b >>> 24]!;
  }
  for (; position < bytes.length; position++) {
    state = (state >>> 8) ^ TABLE[(state ^ bytes[position]!) & 0xff]!;
  }
  return ~state >>> 0;
}
