import { assert } from '../base/assert.ts';

/** The keys of the log's objects. Zero-padded, so that a store's list order is the sequence's order. */

export const CHUNKS_PREFIX = 'chunks/';
export const PACKS_PREFIX = 'packs/';
export const SNAPSHOTS_PREFIX = 'snapshots/';
export const LEASES_PREFIX = 'lease/';
export const PINS_PREFIX = 'pins/';
export const REFERENCES_PREFIX = 'references/';

/** An int64 has at most this many decimal digits. */
const DIGITS = 19;
const NAME = /^(\d{19})\.netsy$/;
const PACK_NAME = /^packs\/(\d{19})-(\d{19})\.netsy$/;
const LEASE_NAME = /^lease\/(\d{19})\.json$/;
const REFERENCE_NAME = /^references\/(\d{19})\.json$/;
const PIN_NAME = /^pins\/(\d{19})-(?:condemned|[0-9a-f]{16}-[0-9a-f]{16})\.json$/;

function isSequence(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

function key(prefix: string, sequence: number): string {
  assert(isSequence(sequence), `sequence ${sequence} of ${prefix}`);
  return `${prefix}${String(sequence).padStart(DIGITS, '0')}.netsy`;
}

function parse(prefix: string, text: string): number | undefined {
  if (!text.startsWith(prefix)) return undefined;
  const digits = NAME.exec(text.slice(prefix.length))?.[1];
  const sequence = Number(digits);
  return isSequence(sequence) ? sequence : undefined;
}

/** The key of the chunk at `sequence`, which is 1 or more. */
export function chunkKey(sequence: number): string {
  return key(CHUNKS_PREFIX, sequence);
}

/** The key of the snapshot that holds the log up to `sequence`, which is 1 or more. */
export function snapshotKey(sequence: number): string {
  return key(SNAPSHOTS_PREFIX, sequence);
}

/** The sequence in a key that `chunkKey` makes; undefined for every other string. */
export function parseChunkKey(text: string): number | undefined {
  return parse(CHUNKS_PREFIX, text);
}

/** The sequence in a key that `snapshotKey` makes; undefined for every other string. */
export function parseSnapshotKey(text: string): number | undefined {
  return parse(SNAPSHOTS_PREFIX, text);
}

/** The key of the pack of the log's chunks from `first` to `last`, which are 1 or more. */
export function packKey(first: number, last: number): string {
  assert(isSequence(first) && isSequence(last) && first <= last, `a pack from ${first} to ${last}`);
  const [from, to] = [first, last].map((sequence) => String(sequence).padStart(DIGITS, '0'));
  return `${PACKS_PREFIX}${from}-${to}.netsy`;
}

/** The sequences in a key that `packKey` makes; undefined for every other string. */
export function parsePackKey(text: string): { first: number; last: number } | undefined {
  const found = PACK_NAME.exec(text);
  const [first, last] = [Number(found?.[1]), Number(found?.[2])];
  return isSequence(first) && isSequence(last) && first <= last ? { first, last } : undefined;
}

/** The key of the primary's lease number `number`, which is 1 or more. */
export function leaseKey(number: number): string {
  assert(Number.isSafeInteger(number) && number >= 1, `lease number ${number}`);
  return `${LEASES_PREFIX}${String(number).padStart(DIGITS, '0')}.json`;
}

/** The number in a key that `leaseKey` makes; undefined for every other string. */
export function parseLeaseKey(text: string): number | undefined {
  const number = Number(LEASE_NAME.exec(text)?.[1]);
  return Number.isSafeInteger(number) && number >= 1 ? number : undefined;
}

/** The key of the reference to another store's snapshot at `sequence`, which is 1 or more. */
export function referenceKey(sequence: number): string {
  assert(isSequence(sequence), `a reference to snapshot ${sequence}`);
  return `${REFERENCES_PREFIX}${String(sequence).padStart(DIGITS, '0')}.json`;
}

/** The sequence in a key that `referenceKey` makes; undefined for every other string. */
export function parseReferenceKey(text: string): number | undefined {
  const sequence = Number(REFERENCE_NAME.exec(text)?.[1]);
  return isSequence(sequence) ? sequence : undefined;
}

/** The key of a fork's pin on the snapshot at `sequence`; `id` tells the fork's tries apart. */
export function pinKey(sequence: number, clusterId: bigint, id: bigint): string {
  assert(isSequence(sequence), `a pin on snapshot ${sequence}`);
  const [fork, run] = [clusterId, id].map((part) => part.toString(16).padStart(16, '0'));
  return `${PINS_PREFIX}${String(sequence).padStart(DIGITS, '0')}-${fork}-${run}.json`;
}

/** The key that says that the snapshot at `sequence` is about to be deleted. */
export function condemnedKey(sequence: number): string {
  assert(isSequence(sequence), `condemned snapshot ${sequence}`);
  return `${PINS_PREFIX}${String(sequence).padStart(DIGITS, '0')}-condemned.json`;
}

/** What a key that `pinKey` or `condemnedKey` makes says; undefined for every other string. */
export function parsePinKey(text: string): { sequence: number; isCondemned: boolean } | undefined {
  const sequence = Number(PIN_NAME.exec(text)?.[1]);
  return isSequence(sequence) ? { sequence, isCondemned: text.endsWith('-condemned.json') } : undefined;
}
