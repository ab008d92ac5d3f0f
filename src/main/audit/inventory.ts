import {
  CHUNKS_PREFIX,
  LEASES_PREFIX,
  PACKS_PREFIX,
  PINS_PREFIX,
  parseChunkKey,
  parseLeaseKey,
  parsePackKey,
  parsePinKey,
  parseReferenceKey,
  parseSnapshotKey,
  REFERENCES_PREFIX,
  SNAPSHOTS_PREFIX,
} from '../../shared/format/names.ts';
import type { LogObject } from '../recovery/log-objects.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';
import type { ObjectInfo, ReadableStore } from '../store/store.ts';

export interface Amount {
  objects: number;
  bytes: number;
}

/** What a store holds, by the names and sizes of its objects alone. */
export interface Inventory {
  readonly chunks: Amount;
  readonly packs: Amount;
  readonly snapshots: Amount;
  readonly leases: Amount;
  /** Pins on snapshots for forks, and references of a fork to snapshots. */
  readonly pins: Amount;
  readonly references: Amount;
  readonly other: Amount;
  /** The objects that hold the log's beginning and its end: chunks, or packs of them. */
  readonly first: LogObject | undefined;
  readonly last: LogObject | undefined;
  /** Of the packs alone. */
  readonly lastPack: LogObject | undefined;
  /** The last ones that are no packs, the oldest of them first. */
  readonly lastChunks: readonly LogObject[];
  /** Chunks, packs and snapshots that were written since. */
  readonly recent: number;
  /** The oldest first. */
  readonly stored: readonly StoredSnapshot[];
  /** The key with the highest number. */
  readonly lastLease: ObjectInfo | undefined;
  /** Keys of the pins: the first ones. */
  readonly pinned: readonly string[];
  /** Keys of objects that are not known here: the first ones. */
  readonly unknown: readonly string[];
}

const UNKNOWN_MAX = 20;
const PINNED_MAX = 100;
/** Of the last chunks so many are remembered: what changes no revision is seldom more in a row. */
const LAST_CHUNKS = 32;
/** Where objects of ours are; what else there is under these is not known. */
const PREFIXES = [
  CHUNKS_PREFIX,
  PACKS_PREFIX,
  SNAPSHOTS_PREFIX,
  LEASES_PREFIX,
  PINS_PREFIX,
  REFERENCES_PREFIX,
];

/** Lists the whole store; `sinceMs` is by the store's clock. What is held does not grow with the number of chunks. */
export async function takeInventory(
  store: Pick<ReadableStore, 'list'>,
  sinceMs = Number.POSITIVE_INFINITY,
): Promise<Inventory> {
  const amount = (): Amount => ({ objects: 0, bytes: 0 });
  const found = {
    ...{ chunks: amount(), packs: amount(), snapshots: amount() },
    ...{ leases: amount(), pins: amount(), references: amount(), other: amount() },
  };
  const stored: StoredSnapshot[] = [];
  const unknown: string[] = [];
  const pinned: string[] = [];
  // Both are listed before the snapshots. What is condemned is only kept for forks, and no part of the log.
  const [elsewhere, condemned] = [new Set<number>(), new Set<number>()];
  const lastChunks: LogObject[] = [];
  let [first, last, lastPack, lastLease]: [LogObject?, LogObject?, LogObject?, ObjectInfo?] = [];
  const ofLog = (object: LogObject): LogObject => {
    if (first === undefined || object.first < first.first) first = object;
    if (last === undefined || object.last > last.last) last = object;
    return object;
  };
  let recent = 0;
  for await (const object of store.list('')) {
    const { key } = object;
    const [chunk, pack, snapshot] = [parseChunkKey(key), parsePackKey(key), parseSnapshotKey(key)];
    const [pin, reference] = [parsePinKey(key), parseReferenceKey(key)];
    let kind: keyof typeof found = 'other';
    let { size } = object;
    if (chunk !== undefined) {
      kind = 'chunks';
      const stored = ofLog({ ...object, isPack: false, first: chunk, last: chunk });
      if (lastChunks.push(stored) > LAST_CHUNKS) lastChunks.shift();
    } else if (snapshot !== undefined) {
      kind = 'snapshots';
      if (elsewhere.has(snapshot)) size = 0;
      if (!condemned.has(snapshot)) stored.push({ ...object, sequence: snapshot });
    } else if (pack !== undefined) {
      kind = 'packs';
      const stored = ofLog({ ...object, isPack: true, ...pack });
      if (lastPack === undefined || stored.last > lastPack.last) lastPack = stored;
    } else if (parseLeaseKey(key) !== undefined) {
      kind = 'leases';
      lastLease = object;
    } else if (pin !== undefined) {
      kind = 'pins';
      if (pin.isCondemned) condemned.add(pin.sequence);
      else if (pinned.length < PINNED_MAX) pinned.push(key);
    } else if (reference !== undefined) {
      kind = 'references';
      elsewhere.add(reference);
    } else if (unknown.length < UNKNOWN_MAX) unknown.push(key);
    if (isOfLog(kind) && object.modifiedMs >= sinceMs) recent++;
    found[kind].objects++;
    found[kind].bytes += size;
  }
  return { ...found, first, last, lastPack, lastChunks, recent, lastLease, stored, pinned, unknown };
}

function isOfLog(kind: string): boolean {
  return kind === 'chunks' || kind === 'packs' || kind === 'snapshots';
}

/** What is odd about an unknown key. */
export function unknownText(key: string): string {
  if (key.startsWith('probe/')) return 'left by the probe of a server as it started; nothing reads it later';
  return PREFIXES.some((prefix) => key.startsWith(prefix))
    ? 'not a name that netsy gives; nothing reads it'
    : 'not an object of netsy; nothing reads it';
}
