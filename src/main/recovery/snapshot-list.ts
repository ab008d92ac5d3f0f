import { PINS_PREFIX, parsePinKey, parseSnapshotKey, SNAPSHOTS_PREFIX } from '../../shared/format/names.ts';
import { decodeSnapshotHeader, type SnapshotHeader } from '../../shared/format/snapshot.ts';
import type { ObjectInfo, ObjectStore } from '../store/store.ts';

/** A snapshot by its name; whether it can be used is another matter. */
export interface StoredSnapshot extends ObjectInfo {
  readonly sequence: number;
}

/** More than a header takes. */
const HEADER_BYTES_MAX = 64 * 1024;

/**
 * The store's snapshots, the newest first. Without those that are only kept for forks: the chunks after them may be gone
 * (see `upkeep/pins.ts`).
 */
export async function listSnapshots(store: Pick<ObjectStore, 'list'>): Promise<StoredSnapshot[]> {
  const found: StoredSnapshot[] = [];
  for await (const object of store.list(SNAPSHOTS_PREFIX)) {
    const sequence = parseSnapshotKey(object.key);
    if (sequence !== undefined) found.push({ ...object, sequence });
  }
  if (found.length === 0) return found;
  const condemned = new Set<number>();
  for await (const { key } of store.list(PINS_PREFIX)) {
    const pin = parsePinKey(key);
    if (pin?.isCondemned === true) condemned.add(pin.sequence);
  }
  return found.filter(({ sequence }) => !condemned.has(sequence)).reverse();
}

/** A snapshot's header alone. Throws `CorruptFileError`; undefined when the object is gone. */
export async function readSnapshotHeader(
  store: Pick<ObjectStore, 'getRange'>,
  { key, sequence }: StoredSnapshot,
): Promise<SnapshotHeader | undefined> {
  const bytes = await store.getRange(key, 0, HEADER_BYTES_MAX);
  return bytes && decodeSnapshotHeader(bytes, key, sequence);
}
