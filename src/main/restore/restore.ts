import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { hex64 } from '../../shared/format/corrupt.ts';
import { snapshotKey } from '../../shared/format/names.ts';
import { originOfChunk } from '../../shared/format/origin.ts';
import type { LogBeginning, LogSnapshotData } from '../../workers/contract/log-snapshot.ts';
import type { LogPosition } from '../../workers/contract/writer.ts';
import { LogReader } from '../recovery/log-reader.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';
import { SnapshotLoad } from '../recovery/snapshot-load.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import type { LogSnapshot } from '../state/log-snapshot-client.ts';
import type { WriterClient } from '../state/writer-client.ts';
import { Bases } from './bases.ts';
import { type BeginningParts, begin, checkStillLast, vacancy } from './beginning.ts';
import { type Reached, reach } from './reach.ts';
import { type LogSource, RestoreError, type Wanted } from './wanted.ts';

/**
 * A new store from an old one's log, as it was at a point. The state is made by the code of recovery in a cache of its own:
 * a snapshot that is not after the point, and the chunks up to it. It becomes the snapshot that the new log begins with.
 *
 * Until that snapshot is there, whole, servers refuse the new store, and nothing is written to the old one.
 */

/** The log's first epoch; the first server that claims it has the second. */
const FIRST_EPOCH = 1;
const WRITER = 'netsy restore';

export interface LoadPointParts extends LogSource {
  readonly wanted: Wanted;
  /** Of a cache that nobody needs. */
  readonly writer: Pick<WriterClient, 'opened' | 'reset' | 'fillBegin' | 'fill' | 'fillEnd' | 'load'>;
  readonly clock: Clock;
  readonly random: Random;
  /** How the loading of a snapshot goes. */
  readonly log: Log;
  progress(reached: Reached): void;
}

/** A point of a log, and what reading it took. */
export interface Point {
  readonly position: LogPosition;
  /** When its last chunk was made. */
  readonly createdAtMs: number;
  /** Read: puts, deletes and operations. */
  readonly records: number;
  readonly bytes: number;
  readonly chunks: number;
}

/** Fills the writer's cache with the state at the point. Rejects with a RestoreError if the log does not have it. */
export async function loadPoint(parts: LoadPointParts): Promise<Point> {
  const { wanted, writer } = parts;
  await writer.opened();
  const bases = await Bases.list(parts);
  const begun = await loadBase(parts, bases);
  const load = writer.load.bind(writer);
  const reached = await reach({ ...parts, bases, load, nonce: randomId(parts.random) }, begun);
  if (reached.position.sequence === 0) throw bases.tooEarly(wanted, begun.createdAtMs);
  return {
    position: reached.position,
    createdAtMs: reached.createdAtMs ?? begun.createdAtMs,
    records: begun.records + reached.records,
    bytes: begun.bytes + reached.bytes,
    chunks: reached.chunks,
  };
}

/** What the way to the point begins with: a snapshot, or nothing where the log is there from its first chunk on. */
async function loadBase(parts: LoadPointParts, bases: Bases): Promise<Point> {
  const { store, pool, signal, wanted, writer } = parts;
  const candidates = bases.before(wanted);
  const load = new SnapshotLoad(parts);
  const position = await load.newestUsable(candidates);
  const base = candidates.find(({ sequence }) => sequence === position?.sequence);
  if (position !== undefined && base !== undefined) {
    const { createdAtMs, recordsCount: records } = bases.header(base);
    return { position, createdAtMs, records, bytes: base.size, chunks: 0 };
  }
  const first = await new LogReader({ store, pool, signal }).chunkAt(1);
  if (first === undefined) {
    if (load.failures.length === 0) throw bases.tooEarly(wanted, undefined);
    throw new RestoreError(`no snapshot of ${store.url} can be used (${load.failures.join('; ')})`);
  }
  if (originOfChunk(first) !== undefined) throw bases.tooEarly(wanted, undefined);
  const { createdAtMs } = first;
  return { position: await writer.reset(), createdAtMs, records: 0, bytes: 0, chunks: 0 };
}

export interface WriteParts extends BeginningParts {
  readonly pool: LogSource['pool'];
  readonly signal: AbortSignal;
  /** Of the cache that has the state. */
  readonly cacheFile: string;
  /** The old store's URL. */
  readonly from: string;
  readonly bumpRevision: number;
  /** Starts the thread that makes the snapshot. */
  open(data: LogSnapshotData): Pick<LogSnapshot, 'begun' | 'pieces' | 'crc' | 'recordsDone' | 'close'>;
  progress(records: number, recordsTotal: number, bytes: number): void;
}

/** What the new store begins with. */
export interface Beginning {
  readonly clusterId: bigint;
  readonly key: string;
  readonly records: number;
  readonly bytes: number;
}

/** Writes the state as the beginning of a log into `store`, and reads it back. Rejects if that holds anything else. */
export async function writeBeginning(parts: WriteParts, { position }: Point): Promise<Beginning> {
  const { store, random, clock, from, bumpRevision, signal } = parts;
  const clusterId = randomId(random);
  const { revision, sequence } = position;
  const origin = { how: 'restore', store: from, clusterId, revision, sequence } as const;
  const previous = await vacancy(store);
  signal.throwIfAborted();
  const link = await begin(parts, previous, origin);
  const beginning: LogBeginning = {
    sequence: link.sequence,
    chunkCrc: link.crc,
    nextSequence: link.sequence + 1,
    epoch: FIRST_EPOCH,
    clusterId,
    bumpRevision,
  };
  const { cacheFile } = parts;
  const createdAtMs = clock.wallMs();
  const building = parts.open({ cacheFile, nodeId: WRITER, createdAtMs, nonce: randomId(random), beginning });
  try {
    const { records } = await building.begun();
    const key = snapshotKey(link.sequence);
    const pieces = counted(parts, building, records, () => checkStillLast(store, link));
    await store.putMultipart(key, pieces.all(), signal);
    await readBack(parts, { key, size: pieces.bytes, sequence: link.sequence, modifiedMs: 0 }, building.crc);
    return { clusterId, key, records, bytes: pieces.bytes };
  } finally {
    building.close();
  }
}

interface Counted {
  bytes: number;
  all(): AsyncGenerator<Uint8Array>;
}

/** The pieces, counted and told of; `last` is done before their end is known, when it can still fail. */
function counted(
  { progress }: WriteParts,
  building: ReturnType<WriteParts['open']>,
  records: number,
  last: () => Promise<void>,
): Counted {
  const count: Counted = {
    bytes: 0,
    all: async function* () {
      for await (const piece of building.pieces()) {
        count.bytes += piece.length;
        progress(building.recordsDone, records, count.bytes);
        yield piece;
      }
      await last();
    },
  };
  return count;
}

async function readBack(parts: WriteParts, snapshot: StoredSnapshot, crc: bigint | undefined): Promise<void> {
  const { footer } = await readSnapshot(parts, snapshot);
  if (footer.crc === crc) return;
  throw new RestoreError(
    `${snapshot.key} in ${parts.store.url} reads back with CRC64 ${hex64(footer.crc)}, ` +
      `not ${hex64(crc ?? 0n)}: do not use that store, and restore into another one`,
  );
}
