/** Small helpers over byte strings. Keys are compared as unsigned bytes, as etcd and SQLite do. */

export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Negative, zero or positive as `a` sorts before, with or after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** A string that is equal for equal bytes, for use as a Map key. One character per byte. */
export function bytesKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A Buffer over the same memory (no copy). */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A signed 64-bit integer as 8 bytes, big-endian. */
export function int64Bytes(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
}

/** The inverse of `int64Bytes`. */
export function bytesInt64(bytes: Uint8Array): bigint {
  return asBuffer(bytes).readBigInt64BE();
}

/** The smallest key that sorts after `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
