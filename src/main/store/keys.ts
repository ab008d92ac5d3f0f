import { StoreError } from './errors.ts';

/** A file system's usual limit for one name, which S3 does not have; kept for both so that they can be swapped. */
const SEGMENT_BYTES_MAX = 255;

/** With the 'u' flag a pair counts as the character that it encodes. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Throws a 'fatal' `StoreError` unless `key` is a valid object name: non-empty segments joined by '/', none
 * of them '.' or '..', no NUL, well-formed Unicode. So no key leaves the store's prefix or directory.
 */
export function checkKey(key: string): void {
  if (LONE_SURROGATE.test(key) || key.includes('\0') || !key.split('/').every(isSegment)) {
    throw new StoreError('fatal', `not a valid object name: ${JSON.stringify(key)}`);
  }
}

function isSegment(segment: string): boolean {
  if (segment === '' || segment === '.' || segment === '..') return false;
  return Buffer.byteLength(segment) <= SEGMENT_BYTES_MAX;
}

/** Negative, zero or positive as `a` sorts before, with or after `b` by their UTF-8 bytes. */
export function compareKeys(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const difference = rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** UTF-16 puts surrogates before U+E000…U+FFFF; UTF-8 has what they encode after. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
