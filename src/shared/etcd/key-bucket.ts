import { keyValueBytes } from './responses.ts';
import { EMPTY_BYTES } from './wire.ts';

/**
 * How etcd 3.7 keeps its history in its database's bucket `key` (server/storage/mvcc/revision.go, kvstore_txn.go):
 * one entry per change, named by its revision. HashKV runs over exactly these bytes.
 */

/** The bucket's name. */
export const KEY_BUCKET = 'key';

const MARK_PUT_BYTES = 17;
const MARK_TOMBSTONE_BYTES = 18;
const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;

/** An entry's name: revision and sub as 8 bytes big-endian with `_` between, and a `t` at a tombstone's end. */
export function revisionKey(revision: number, sub: number, deleted: boolean): Buffer {
  const bytes = Buffer.allocUnsafe(deleted ? MARK_TOMBSTONE_BYTES : MARK_PUT_BYTES);
  bytes.writeBigInt64BE(BigInt(revision), 0);
  bytes[8] = SEPARATOR;
  bytes.writeBigInt64BE(BigInt(sub), 9);
  if (deleted) bytes[17] = TOMBSTONE;
  return bytes;
}

/** A tombstone's value: a KeyValue that has the key and nothing else. */
export function tombstoneValue(key: Uint8Array): Uint8Array {
  return keyValueBytes({
    key,
    createRevision: 0,
    modRevision: 0,
    version: 0,
    value: EMPTY_BYTES,
    lease: 0n,
  });
}
