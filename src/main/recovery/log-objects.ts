import {
  CHUNKS_PREFIX,
  chunkKey,
  PACKS_PREFIX,
  parseChunkKey,
  parsePackKey,
} from '../../shared/format/names.ts';
import type { ObjectInfo, ObjectStore } from '../store/store.ts';

/** An object that holds a part of the log: a chunk, or a pack of them. */
export interface LogObject extends ObjectInfo {
  readonly isPack: boolean;
  /** The sequences of its first and last chunk; the same of a chunk. */
  readonly first: number;
  readonly last: number;
}

/** The store's packs, by their first sequence. */
export async function listPacks(store: Pick<ObjectStore, 'list'>): Promise<LogObject[]> {
  const packs: LogObject[] = [];
  for await (const object of store.list(PACKS_PREFIX)) {
    const range = parsePackKey(object.key);
    if (range !== undefined) packs.push({ ...object, ...range, isPack: true });
  }
  return packs;
}

/** The store's chunks from a sequence on, in order. */
export async function* listChunks(
  store: Pick<ObjectStore, 'list'>,
  nextSequence = 1,
): AsyncGenerator<LogObject> {
  const startAfter = nextSequence > 1 ? chunkKey(nextSequence - 1) : undefined;
  for await (const object of store.list(CHUNKS_PREFIX, startAfter)) {
    const sequence = parseChunkKey(object.key);
    if (sequence !== undefined) yield { ...object, first: sequence, last: sequence, isPack: false };
  }
}

/** Of `packs`, those that a reader would take, in the order of the log. */
export function packsInUse(packs: readonly LogObject[]): LogObject[] {
  const furthest = new Furthest(packs);
  const used: LogObject[] = [];
  for (let pack = furthest.at(1); pack !== undefined; pack = furthest.at(pack.last + 1)) used.push(pack);
  return used;
}

/**
 * The fewest objects that hold the log from a sequence on, in order, and maybe a few chunks that are no part of it:
 * wherever a pack goes on, the one that reaches furthest, and chunks where there is none. What `without` names is
 * left out.
 */
export async function* logObjects(
  store: Pick<ObjectStore, 'list'>,
  nextSequence: number,
  without: { has(key: string): boolean } = new Set(),
): AsyncGenerator<LogObject> {
  const packs = new Furthest((await listPacks(store)).filter(({ key }) => !without.has(key)));
  let next = nextSequence;
  for (;;) {
    const pack = packs.at(next);
    if (pack !== undefined && pack.first <= next) {
      yield pack;
      next = pack.last + 1;
      continue;
    }
    for await (const chunk of listChunks(store, next)) {
      if (pack !== undefined && chunk.first >= pack.first) break;
      if (!without.has(chunk.key)) yield chunk;
    }
    if (pack === undefined) return;
    yield pack;
    next = pack.last + 1;
  }
}

/** Packs to go through in the order of the log. */
class Furthest {
  readonly #packs: readonly LogObject[];
  #index = 0;

  /** `packs` by their first sequence. */
  constructor(packs: readonly LogObject[]) {
    this.#packs = packs;
  }

  /** Of the packs that hold `next`, or else of those that come first after it, the one that reaches furthest. */
  at(next: number): LogObject | undefined {
    let found: LogObject | undefined;
    for (; this.#index < this.#packs.length; this.#index++) {
      const pack = this.#packs[this.#index]!;
      const from = Math.max(next, found?.first ?? next);
      if (found !== undefined && pack.first > from) break;
      if (pack.last >= next && (found === undefined || pack.last > found.last)) found = pack;
    }
    return found;
  }
}
