import { asBuffer } from '../../shared/base/bytes.ts';
import { randomId } from '../../shared/base/random.ts';
import { encodeClaim } from '../../shared/format/chunk.ts';
import { decodeHeader } from '../../shared/format/decode.ts';
import { FileCompression } from '../../shared/format/file.ts';
import { chunkKey } from '../../shared/format/names.ts';
import { FORK_HOLDER, type Origin } from '../../shared/format/origin.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';
import { positionOf } from '../recovery/snapshot-load.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import { copyObject } from '../store/copy.ts';
import { StoreError } from '../store/errors.ts';
import type { ReadableStore } from '../store/store.ts';
import { Bases } from './bases.ts';
import { type BeginningParts, begin, begunFork } from './beginning.ts';
import { type Reached, reach } from './reach.ts';
import { type LogSource, RestoreError, type Wanted } from './wanted.ts';

/**
 * A new store that goes on where an old one's log was at a point: with the old one's snapshot before it, the chunks from
 * there up to it under the names that they have there, and an epoch chunk with a cluster id of its own. Nothing of the
 * state is read into a cache.
 *
 * Chunk 1 is the origin: it is created first, so that no other log begins there, and it is never applied. The
 * snapshot comes last; until it is there servers refuse the store. All other objects follow from the origin and the
 * old log, so the same fork run again meets its own objects, and goes on. Where the snapshot can be referred to (see
 * `refer.ts`), the reference is what comes last in its place.
 */

/** Chunks that are uploaded at the same time. */
const UPLOADS_MAX = 8;
const START = { sequence: 0, crc: 0n };

export interface ForkParts extends BeginningParts {
  readonly source: LogSource & { readonly store: ReadableStore };
  readonly pool: Pick<TaskPool, 'compress' | 'openPiece' | 'inflate'>;
  readonly wanted: Wanted;
  /** Makes the new store refer to the snapshot; false if it is to be copied. */
  readonly refer?:
    | ((snapshot: StoredSnapshot, header: SnapshotHeader, clusterId: bigint) => Promise<boolean>)
    | undefined;
  /** What is being done, and how far that has come. */
  progress(what: string, records: number, bytes: number, part: number | undefined): void;
}

type How = 'linked' | 'referenced' | 'copied';

/** What a fork came to. */
export interface Forked {
  readonly position: LogPosition;
  readonly createdAtMs: number;
  readonly clusterId: bigint;
  readonly snapshot: { readonly key: string; readonly bytes: number; readonly how: How };
  readonly chunks: { readonly count: number; readonly bytes: number };
  readonly resumed: boolean;
}

interface Base {
  readonly snapshot: StoredSnapshot;
  readonly header: SnapshotHeader;
}

/**
 * Makes the fork. Resolves undefined, having written nothing, if there is no snapshot before the point that it could begin
 * with: then the whole log is small, and is to be restored instead. Rejects with a RestoreError.
 */
export async function fork(parts: ForkParts): Promise<Forked | undefined> {
  const { source, store, random } = parts;
  const begun = await begunFork(store);
  const wanted = begun === undefined ? parts.wanted : wantedAgain(parts.wanted, begun.origin);
  const bases = await Bases.list(source);
  const base = await wholeBase(parts, bases, wanted);
  if (base === undefined) {
    if (begun !== undefined) throw anotherFork(store.url, begun.origin);
    return undefined;
  }
  const clusterId = begun?.origin.clusterId ?? randomId(random);
  const reached = await goTo(parts, bases, base, wanted, clusterId, async () => {});
  const { sequence, revision } = reached.position;
  const origin: Origin = { how: 'fork', store: source.store.url, clusterId, revision, sequence };
  if (begun !== undefined && (begun.origin.revision !== revision || begun.origin.sequence !== sequence)) {
    throw anotherFork(store.url, begun.origin);
  }
  const { createdAtMs } = begun?.header ?? (await begin(parts, START, origin));
  const { count, bytes } = await new ChunkCopies(parts).copy(bases, base, wanted, clusterId, reached);
  await claim(parts, reached.position, clusterId, createdAtMs);
  const how = await commit(parts, base, clusterId);
  return {
    position: reached.position,
    createdAtMs: reached.createdAtMs ?? base.header.createdAtMs,
    clusterId,
    snapshot: { key: base.snapshot.key, bytes: base.snapshot.size, how },
    chunks: { count, bytes },
    resumed: begun !== undefined,
  };
}

/** An earlier run chose the point; a time or the end of a log that grows would be another one by now. */
function wantedAgain(wanted: Wanted, { sequence }: Origin): Wanted {
  return wanted.kind === 'revision' ? wanted : { kind: 'sequence', sequence };
}

function anotherFork(url: string, { store, revision }: Origin): RestoreError {
  return new RestoreError(
    `${url} holds a fork of ${store} at revision ${revision} that did not end: run that one again, or empty it`,
  );
}

/** The newest snapshot before the point that is whole and has room for an origin's epoch before it. */
async function wholeBase({ source }: ForkParts, bases: Bases, wanted: Wanted): Promise<Base | undefined> {
  for (const snapshot of bases.before(wanted)) {
    if (snapshot.sequence <= PIPELINE_DEPTH_MAX + 1) return undefined;
    try {
      const { header } = await readSnapshot(source, snapshot);
      return { snapshot, header };
    } catch (error) {
      if (error instanceof StoreError || source.signal.aborted) throw error;
    }
  }
  return undefined;
}

/** The way from the base to the point, without a cache: only where the log stands is kept. */
async function goTo(
  { source, progress }: ForkParts,
  bases: Bases,
  { header }: Base,
  wanted: Wanted,
  nonce: bigint,
  take: (chunks: readonly LoadedChunk[]) => Promise<void>,
): Promise<Reached> {
  let position: LogPosition = positionOf(header);
  const load = async (chunks: LoadedChunk[]): Promise<LogPosition> => {
    await take(chunks);
    for (const chunk of chunks) position = behind(position, chunk);
    return position;
  };
  return reach(
    {
      ...source,
      bases,
      wanted,
      nonce,
      load,
      progress: ({ records, bytes, part }) => progress('following the log', records, bytes, part),
    },
    { position, createdAtMs: header.createdAtMs },
  );
}

function behind(position: LogPosition, chunk: LoadedChunk): LogPosition {
  const { sequence, crc: chunkCrc, skipTo, lastRevision } = chunk;
  const { epoch } = decodeHeader(chunk.header, chunkKey(sequence)).header;
  const revision = Math.max(position.revision, lastRevision);
  return { ...position, sequence, chunkCrc, nextSequence: skipTo ?? sequence + 1, epoch, revision };
}

/** Puts the chunks between the base and the point into the new store, each as the object that it was. */
class ChunkCopies {
  readonly #parts: ForkParts;
  readonly #uploads = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #count = 0;
  #bytes = 0;

  constructor(parts: ForkParts) {
    this.#parts = parts;
  }

  async copy(
    bases: Bases,
    base: Base,
    wanted: Wanted,
    clusterId: bigint,
    reached: Reached,
  ): Promise<{ count: number; bytes: number }> {
    const { sequence } = reached.position;
    // Not further than the first time, when the log was shorter.
    const again: Wanted = wanted.kind === 'revision' ? wanted : { kind: 'sequence', sequence };
    const take = async (chunks: readonly LoadedChunk[]): Promise<void> => {
      for (const chunk of chunks) if (chunk.sequence <= sequence) await this.#put(chunk);
    };
    await goTo(this.#parts, bases, base, again, clusterId, take);
    await this.#settled(0);
    return { count: this.#count, bytes: this.#bytes };
  }

  async #put(chunk: LoadedChunk): Promise<void> {
    const { pool, append, store, source, progress } = this.#parts;
    source.signal.throwIfAborted();
    const key = chunkKey(chunk.sequence);
    const { header } = decodeHeader(chunk.header, key);
    const isPlain = header.compression === FileCompression.None;
    const body = isPlain ? chunk.body : await pool.compress(chunk.body.slice());
    const object = Buffer.concat([asBuffer(chunk.header), asBuffer(body)]);
    this.#count++;
    this.#bytes += object.length;
    progress('copying chunks', this.#count, this.#bytes, undefined);
    const upload = append(key, object)
      .then((outcome) => {
        if (outcome === 'lost') throw new RestoreError(`${store.url} has another ${key}: name another store`);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#uploads.delete(upload));
    this.#uploads.add(upload);
    await this.#settled(UPLOADS_MAX - 1);
  }

  async #settled(underWay: number): Promise<void> {
    while (this.#uploads.size > underWay) await Promise.race(this.#uploads);
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** The epoch with which the fork is a cluster of its own. */
async function claim(
  { append, store }: ForkParts,
  position: LogPosition,
  clusterId: bigint,
  createdAtMs: number,
): Promise<void> {
  const by = { holder: FORK_HOLDER, clusterId, createdAtMs, nonce: clusterId };
  const { bytes } = encodeClaim(position, by);
  const key = chunkKey(position.nextSequence);
  if ((await append(key, bytes)) === 'lost') {
    throw new RestoreError(`${store.url} has another ${key}: name another store`);
  }
}

/** The snapshot, with which the new store is one. */
async function commit(parts: ForkParts, { snapshot, header }: Base, clusterId: bigint): Promise<How> {
  const { source, store, pool, progress } = parts;
  const { signal } = source;
  if ((await parts.refer?.(snapshot, header, clusterId)) === true) return 'referenced';
  const done = (bytes: number): void => progress('copying the snapshot', 0, bytes, bytes / snapshot.size);
  const how = await copyObject(source.store, store, snapshot, signal, done);
  // What is shared was read before.
  if (how === 'copied') await readSnapshot({ store, pool, signal }, snapshot);
  return how;
}
