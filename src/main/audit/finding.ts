import type { CorruptFileError } from '../../shared/format/corrupt.ts';

/** Something in a store that is not as it must be. */
export interface Finding {
  /** Its key, or the first and the last of several. */
  readonly object: string;
  /** Where in it, such as `record 3 at byte 70`. */
  readonly place: string;
  /** What was checked. */
  readonly check: string;
  readonly expected: string;
  readonly found: string;
}

/** Something that stands out and is no damage. */
export interface Note {
  readonly object: string;
  readonly what: string;
}

/** What an object's own CRCs, counts and lengths say of it. */
export function findingOf(error: CorruptFileError): Finding {
  const { object, part, index, offset, check, expected, found } = error;
  const place = `${index === undefined ? part : `${part} ${index}`} at byte ${offset}`;
  return { object, place, check, expected, found };
}

/** One line for people. */
export function findingText({ object, place, check, expected, found }: Finding): string {
  return `${object}: ${place === '' ? '' : `${place}: `}${check}: expected ${expected}, found ${found}`;
}
