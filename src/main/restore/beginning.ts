import type { Clock } from '../../shared/base/clock.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import type { ChainLink } from '../../shared/format/chain.ts';
import { encodeChunk } from '../../shared/format/chunk.ts';
import {
  CHUNKS_PREFIX,
  chunkKey,
  PACKS_PREFIX,
  parseChunkKey,
  REFERENCES_PREFIX,
  SNAPSHOTS_PREFIX,
} from '../../shared/format/names.ts';
import { decodeOrigin, type Origin, type OriginChunk, originRecord } from '../../shared/format/origin.ts';
import type { ObjectStore } from '../store/store.ts';
import { RestoreError } from './wanted.ts';

/**
 * The first object of a log that begins with what another store holds. It is created only if its name is free, and a
 * server that begins a log of its own, an import, a restore and a fork all want a name of the same sequence: so one
 * of them gets the store.
 *
 * After a restore that did not end its chunk stays, and the next one takes the sequence after it. So whatever an
 * earlier one may still have on its way has a name of its own, and comes before what is relied on.
 */

const START: ChainLink = { sequence: 0, crc: 0n };
/** An object larger than this is no origin's. */
const ORIGIN_BYTES_MAX = 64 * 1024;
/** An object there means that there is a store already. */
const TAKEN_PREFIXES = [SNAPSHOTS_PREFIX, PACKS_PREFIX, REFERENCES_PREFIX];

/** The fork that `store` holds the beginning of, if it has not ended. Rejects when it holds anything else. */
export async function begunFork(
  store: Pick<ObjectStore, 'url' | 'get' | 'list'>,
): Promise<OriginChunk | undefined> {
  for (const prefix of TAKEN_PREFIXES) {
    for await (const { key } of store.list(prefix)) throw notEmpty(store, key);
  }
  for await (const { key, size } of store.list(CHUNKS_PREFIX)) {
    const object = key === chunkKey(1) && size <= ORIGIN_BYTES_MAX ? await store.get(key) : undefined;
    const found = object && decodeOrigin(object, key);
    if (found?.origin.how === 'fork') return found;
    throw notEmpty(store, key);
  }
  return undefined;
}

/** Where a log may begin in `store`: after what restores left that did not end. Rejects when it holds more. */
export async function vacancy(store: Pick<ObjectStore, 'url' | 'get' | 'list'>): Promise<ChainLink> {
  for (const prefix of TAKEN_PREFIXES) {
    for await (const { key } of store.list(prefix)) throw notEmpty(store, key);
  }
  let last = START;
  for await (const { key, size } of store.list(CHUNKS_PREFIX)) {
    const isNext = parseChunkKey(key) === last.sequence + 1 && size <= ORIGIN_BYTES_MAX;
    const link = isNext ? await restoreLink(store, key, last.sequence + 1) : undefined;
    if (link === undefined) throw notEmpty(store, key);
    last = link;
  }
  return last;
}

async function restoreLink(
  store: Pick<ObjectStore, 'get'>,
  key: string,
  sequence: number,
): Promise<ChainLink | undefined> {
  const object = await store.get(key);
  if (object === undefined) return undefined;
  const found = decodeOrigin(object, key);
  return found?.origin.how === 'restore' ? { sequence, crc: found.crc } : undefined;
}

function notEmpty({ url }: Pick<ObjectStore, 'url'>, key: string): RestoreError {
  return new RestoreError(`${url} is not empty (it holds ${key}): name a store, or a prefix, of its own`);
}

export interface BeginningParts {
  readonly store: ObjectStore;
  append(key: string, object: Uint8Array): Promise<'durable' | 'lost'>;
  readonly clock: Clock;
  readonly random: Random;
}

/** Puts the chunk that says where the log comes from behind `previous`; resolves to its place in the chain. */
export async function begin(
  { store, append, clock, random }: BeginningParts,
  previous: ChainLink,
  origin: Origin,
): Promise<ChainLink & { readonly createdAtMs: number }> {
  const createdAtMs = clock.wallMs();
  const sequence = previous.sequence + 1;
  const file = encodeChunk(
    {
      leaderId: `netsy ${origin.how}`,
      createdAtMs,
      sequence,
      epoch: 0,
      previousChunkCrc: previous.crc,
      nonce: randomId(random),
    },
    [originRecord(origin, createdAtMs)],
  );
  if ((await append(chunkKey(sequence), file.bytes)) === 'lost') throw taken(store);
  return { sequence, crc: file.crc, createdAtMs };
}

/** Throws if anything of the log came behind `link` meanwhile. */
export async function checkStillLast(store: ObjectStore, { sequence }: ChainLink): Promise<void> {
  for await (const { key } of store.list(CHUNKS_PREFIX, chunkKey(sequence))) {
    if (parseChunkKey(key) !== undefined) throw taken(store);
  }
}

function taken({ url }: Pick<ObjectStore, 'url'>): RestoreError {
  return new RestoreError(`another process has begun to write to ${url}: end it, or name another store`);
}
