/**
 * CRC-64 with the ECMA-182 polynomial, reflected, all ones before and after: Go's `crc64.ECMA`, also
 * known as CRC-64/XZ. JavaScript has no fast 64-bit integer, so a value is kept as two 32-bit halves and
 * eight bytes are taken per step ("slicing by 8"). A DataView's words were measured at 2.5 times the
 * speed of single bytes, and sixteen bytes per step gained nothing more.
 */

const POLYNOMIAL_LOW = 0xd787_0f42 | 0;
const POLYNOMIAL_HIGH = 0xc96c_5795 | 0;
const SLICES = 8;

/** Entry 256 × s + b: what byte b does to the CRC when s more bytes follow it. Low and high halves. */
const LOW = new Int32Array(SLICES * 256);
const HIGH = new Int32Array(SLICES * 256);

function fillTables(): void {
  for (let byte = 0; byte < 256; byte++) {
    let low = byte;
    let high = 0;
    for (let bit = 0; bit < 8; bit++) {
      const carry = -(low & 1);
      low = ((low >>> 1) | (high << 31)) ^ (POLYNOMIAL_LOW & carry);
      high = (high >>> 1) ^ (POLYNOMIAL_HIGH & carry);
    }
    LOW[byte] = low;
    HIGH[byte] = high;
  }
  for (let entry = 256; entry < LOW.length; entry++) {
    const low = LOW[entry - 256]!;
    const high = HIGH[entry - 256]!;
    LOW[entry] = ((low >>> 8) | (high << 24)) ^ LOW[low & 0xff]!;
    HIGH[entry] = (high >>> 8) ^ HIGH[low & 0xff]!;
  }
}
fillTables();

/** The CRC of bytes that come piece by piece. */
export class Crc64 {
  /** The CRC so far in two halves, as signed 32-bit integers: for those who can do without a bigint. */
  low = 0;
  high = 0;

  /** Takes `bytes` from `start` to before `end`. */
  update(bytes: Uint8Array, start = 0, end: number = bytes.length): this {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let low = ~this.low;
    let high = ~this.high;
    let position = start;
    for (const last = end - 8; position <= last; position += 8) {
      const a = view.getInt32(position, true) ^ low;
      const b = view.getInt32(position + 4, true) ^ high;
      const i0 = 1792 + (a & 0xff);
      const i1 = 1536 + ((a >>> 8) & 0xff);
      const i2 = 1280 + ((a >>> 16) & 0xff);
      const i3 = 1024 + (a >>> 24);
      const i4 = 768 + (b & 0xff);
      const i5 = 512 + ((b >>> 8) & 0xff);
      const i6 = 256 + ((b >>> 16) & 0xff);
      const i7 = b >>> 24;
      low = LOW[i0]! ^ LOW[i1]! ^ LOW[i2]! ^ LOW[i3]! ^ LOW[i4]! ^ LOW[i5]! ^ LOW[i6]! ^ LOW[i7]!;
      high = HIGH[i0]! ^ HIGH[i1]! ^ HIGH[i2]! ^ HIGH[i3]! ^ HIGH[i4]! ^ HIGH[i5]! ^ HIGH[i6]! ^ HIGH[i7]!;
    }
    for (; position < end; position++) {
      const index = (low ^ bytes[position]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index]!;
      high = (high >>> 8) ^ HIGH[index]!;
    }
    this.low = ~low;
    this.high = ~high;
    return this;
  }

  /**
   * Goes on as if the `length` bytes whose CRC is `next` had been given to `update`: the same result
   * without a second look at them. Measured for a record of 1.1 KB at less than half of `update`'s time.
   */
  append(next: Crc64, length: number): this {
    let rest = length;
    for (let place = 0; rest > 0; place += 256) {
      const digit = rest % 256;
      if (digit > 0) this.multiply(SHIFT_LOW[place + digit]!, SHIFT_HIGH[place + digit]!);
      rest = (rest - digit) / 256;
    }
    this.low ^= next.low;
    this.high ^= next.high;
    return this;
  }

  /** Starts anew. */
  reset(): this {
    this.low = 0;
    this.high = 0;
    return this;
  }

  /** The CRC of what was given so far; unsigned. */
  digest(): bigint {
    return (BigInt(this.high >>> 0) << 32n) | BigInt(this.low >>> 0);
  }

  /** Multiplies by a polynomial over GF(2), modulo the CRC's own. The highest bit is x^0: reflected. */
  multiply(factorLow: number, factorHigh: number): void {
    let low = this.low;
    let high = this.high;
    let productLow = 0;
    let productHigh = 0;
    for (let bit = 0; bit < 64; bit++) {
      const taken = (bit < 32 ? factorHigh << bit : factorLow << bit) >> 31;
      productLow ^= low & taken;
      productHigh ^= high & taken;
      const carry = -(low & 1);
      low = ((low >>> 1) | (high << 31)) ^ (POLYNOMIAL_LOW & carry);
      high = (high >>> 1) ^ (POLYNOMIAL_HIGH & carry);
    }
    this.low = productLow;
    this.high = productHigh;
  }
}

/** The digits of a length in base 256 that `append` can take: lengths below 2^48. */
const SHIFT_PLACES = 6;

/** Entry 256 × p + n: x^(8 × n × 256^p), by which n × 256^p further bytes multiply a CRC. */
const SHIFT_LOW = new Int32Array(SHIFT_PLACES * 256);
const SHIFT_HIGH = new Int32Array(SHIFT_PLACES * 256);

function fillShifts(): void {
  const power = new Crc64();
  // x^8: one byte. Its bit stands eight places below that of x^0, which is the highest.
  let unitLow = 0;
  let unitHigh = 1 << 23;
  for (let place = 0; place < SHIFT_LOW.length; place += 256) {
    power.low = 0;
    power.high = 1 << 31;
    for (let digit = 0; digit < 256; digit++) {
      SHIFT_LOW[place + digit] = power.low;
      SHIFT_HIGH[place + digit] = power.high;
      power.multiply(unitLow, unitHigh);
    }
    unitLow = power.low;
    unitHigh = power.high;
  }
}
fillShifts();

/** The CRC of `bytes` from `start` to before `end`; unsigned. */
export function crc64(bytes: Uint8Array, start = 0, end: number = bytes.length): bigint {
  return new Crc64().update(bytes, start, end).digest();
}
