import type { AuthInfo } from '../../shared/auth/state.ts';
import { assert } from '../../shared/base/assert.ts';
import { asBuffer } from '../../shared/base/bytes.ts';
import type { WriteKind } from './writer.ts';

/**
 * A write together with who makes it, while auth is enabled: the payload of a `WriteKind.As` frame.
 * `kind u32, revision f64, nameLength u32, name, request`, little-endian.
 */
export interface CalledWrite {
  kind: WriteKind;
  info: AuthInfo;
  /** A view into the payload. */
  request: Uint8Array;
}

const HEADER_BYTES = 16;

/** Packs a write and its caller. */
export function encodeCalledWrite({ kind, info, request }: CalledWrite): Uint8Array {
  const nameLength = Buffer.byteLength(info.username);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + nameLength + request.length);
  bytes.writeUInt32LE(kind, 0);
  bytes.writeDoubleLE(info.revision, 4);
  bytes.writeUInt32LE(nameLength, 12);
  bytes.write(info.username, HEADER_BYTES);
  bytes.set(request, HEADER_BYTES + nameLength);
  return bytes;
}

/** The inverse of `encodeCalledWrite`. */
export function decodeCalledWrite(payload: Uint8Array): CalledWrite {
  const bytes = asBuffer(payload);
  const nameEnd = HEADER_BYTES + bytes.readUInt32LE(12);
  assert(nameEnd <= bytes.length, 'truncated write of a caller');
  return {
    kind: bytes.readUInt32LE(0) as WriteKind,
    info: { revision: bytes.readDoubleLE(4), username: bytes.toString('utf8', HEADER_BYTES, nameEnd) },
    request: payload.subarray(nameEnd),
  };
}
