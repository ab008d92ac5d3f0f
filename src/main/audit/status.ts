import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { CorruptFileError, hex64 } from '../../shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { chunkKey, parsePinKey, snapshotKey } from '../../shared/format/names.ts';
import { originOfChunk } from '../../shared/format/origin.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import { LEASE_RENEWALS_PER_TTL, PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import { decodeLease, type LeaseRecord } from '../cluster/lease-record.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { LogObject } from '../recovery/log-objects.ts';
import { LogReader } from '../recovery/log-reader.ts';
import { readSnapshotHeader, type StoredSnapshot } from '../recovery/snapshot-list.ts';
import type { ReadableStore } from '../store/store.ts';
import type { Note } from './finding.ts';
import { type Amount, type Inventory, takeInventory, unknownText } from './inventory.ts';

const HOUR_MS = 3_600_000;
const HOURS_PER_MONTH = 730;
const GB = 2 ** 30;
/** More than the header of a chunk takes. */
const HEADER_BYTES_MAX = 64 * 1024;
/** A standby waits a tenth more than the TTL. */
const LEASE_MARGIN = 1.1;

export interface StatusParts {
  readonly store: ReadableStore;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame'>;
  readonly clock: Clock;
  readonly pricePerGbMonth: number;
  readonly pricePer1000Puts: number;
}

/** A place in the log. */
export interface LogPoint {
  readonly sequence: number;
  /** Undefined where no object that was read says it. */
  readonly revision: number | undefined;
  /** By the clock of the process that wrote it. */
  readonly time: string;
}

export interface PrimaryStatus {
  readonly holder: string;
  readonly name: string;
  readonly clientUrls: readonly string[];
  readonly ttlMs: number;
  /** Since the last renewal, by the store's clock and this machine's. */
  readonly ageMs: number;
  /** 'released': it stopped in good order; 'expired': not renewed for longer than its TTL. */
  readonly state: 'held' | 'released' | 'expired';
}

export interface SnapshotStatus {
  readonly key: string;
  readonly sequence: number;
  /** Undefined if its header can't be read. */
  readonly revision: number | undefined;
  readonly compactRevision: number | undefined;
  readonly time: string;
  readonly ageMs: number;
  readonly records: number | undefined;
  readonly bytes: number;
}

interface PinStatus {
  readonly key: string;
  readonly snapshot: string;
  /** The fork's URL; undefined if the pin does not say it. */
  readonly store: string | undefined;
}

export interface StoreStatus {
  readonly store: string;
  readonly empty: boolean;
  readonly clusterId: string | undefined;
  readonly epoch: number | undefined;
  readonly primary: PrimaryStatus | undefined;
  readonly end: LogPoint | undefined;
  /** As the newest snapshot says; -1 if there was no compaction before it. */
  readonly compactRevision: number | undefined;
  /** The oldest first. */
  readonly snapshots: readonly SnapshotStatus[];
  /** The oldest state that the log can be restored to; the newest is its end. */
  readonly oldestRestorePoint: LogPoint | undefined;
  readonly objects: Readonly<
    Record<'chunks' | 'packs' | 'snapshots' | 'leases' | 'pins' | 'references' | 'other' | 'all', Amount>
  >;
  /** What forks in other stores need of this one. */
  readonly pins: readonly PinStatus[];
  readonly cost: {
    readonly pricePerGbMonth: number;
    readonly storagePerMonth: number;
    readonly putsLastHour: number;
    readonly pricePer1000Puts: number;
    readonly putsPerMonth: number;
  };
  readonly odd: readonly Note[];
}

/** Says what a store holds, from its list and a few small reads. Rejects when it can't be read. */
export async function statusOf(parts: StatusParts): Promise<StoreStatus> {
  return new StatusReader(parts).read();
}

class StatusReader {
  readonly #parts: StatusParts;
  readonly #nowMs: number;
  readonly #odd: Note[] = [];
  readonly #reader: LogReader;

  constructor(parts: StatusParts) {
    this.#parts = parts;
    const { store, pool } = parts;
    this.#reader = new LogReader({ store, pool, damaged: (key, error) => this.#damaged(key, error) });
    this.#nowMs = parts.clock.wallMs();
  }

  async read(): Promise<StoreStatus> {
    const { store } = this.#parts;
    const inventory = await this.#withoutLeftovers(await takeInventory(store, this.#nowMs - HOUR_MS));
    this.#odd.push(...inventory.unknown.map((object) => ({ object, what: unknownText(object) })));
    const headers = await this.#headers(inventory.stored);
    const newest = [...headers.values()].filter((header) => header !== undefined).pop();
    const { record, primary } = await this.#primary(inventory);
    const end = await this.#end(inventory, newest);
    const oldest = await this.#oldest(inventory, headers);
    await this.#checkEnds(inventory, record);
    const { epoch, point } = end ?? {};
    return {
      store: store.url,
      empty: inventory.last === undefined && inventory.stored.length === 0,
      clusterId: newest && hex64(newest.snapshot.clusterId),
      epoch,
      primary,
      end: point,
      compactRevision: newest?.snapshot.compactRevision,
      snapshots: inventory.stored.map((stored) => this.#snapshot(stored, headers.get(stored.key))),
      oldestRestorePoint: oldest,
      objects: objectsOf(inventory),
      pins: await this.#pins(inventory),
      cost: this.#cost(inventory, primary),
      odd: this.#odd,
    };
  }

  /**
   * A primary that was replaced may have left chunks behind the one with which the next took over: nobody reads them, and
   * until that one writes again they are the last by name. The log ends with the last chunk of the highest epoch.
   */
  async #withoutLeftovers(inventory: Inventory): Promise<Inventory> {
    const { last, lastChunks, lastPack } = inventory;
    // What is packed is part of the log.
    if (last === undefined || last.isPack) return inventory;
    const epochs = await Promise.all(lastChunks.map(({ key }) => this.#epochIn(key)));
    const ofPack = lastPack && (lastChunks[0]?.last ?? 0) <= lastPack.last + PIPELINE_DEPTH_MAX;
    const packed = ofPack ? await this.#chunk(lastPack.last) : undefined;
    const packEpoch = packed && epochOf(packed.header);
    const highest = Math.max(...[packEpoch, ...epochs].map((epoch) => epoch ?? 0));
    // What can't be read is damage, and what has no epoch was written by a command.
    const isLeft = (epoch: number | undefined): boolean => !!epoch && epoch < highest;
    const kept = lastChunks.slice(0, epochs.findLastIndex((epoch) => !isLeft(epoch)) + 1);
    const chunk = kept[kept.length - 1];
    const isPacked = lastPack !== undefined && lastPack.last > (chunk?.last ?? 0);
    return { ...inventory, last: isPacked ? lastPack : chunk, lastChunks: kept };
  }

  /** Of a chunk; undefined if there is none, or it can't be read. */
  async #epochIn(key: string): Promise<number | undefined> {
    const bytes = await this.#parts.store.getRange(key, 0, HEADER_BYTES_MAX);
    return bytes && epochOf(bytes);
  }

  async #headers(stored: readonly StoredSnapshot[]): Promise<Map<string, SnapshotHeader | undefined>> {
    const headers = new Map<string, SnapshotHeader | undefined>();
    for (const snapshot of stored) {
      try {
        headers.set(snapshot.key, await readSnapshotHeader(this.#parts.store, snapshot));
      } catch (error) {
        this.#damaged(snapshot.key, error);
      }
    }
    return headers;
  }

  async #pins({ pinned }: Inventory): Promise<PinStatus[]> {
    const pins: PinStatus[] = [];
    for (const key of pinned) {
      const object = await this.#parts.store.get(key);
      const sequence = parsePinKey(key)?.sequence;
      if (object === undefined || sequence === undefined) continue;
      pins.push({ key, snapshot: snapshotKey(sequence), store: forkOf(object) });
    }
    return pins;
  }

  async #primary({ lastLease }: Inventory): Promise<{ record?: LeaseRecord; primary?: PrimaryStatus }> {
    const object = lastLease && (await this.#parts.store.get(lastLease.key));
    if (lastLease === undefined || object === undefined) return {};
    const record = decodeLease(object);
    if (record === undefined) {
      this.#odd.push({ object: lastLease.key, what: 'can not be read' });
      return {};
    }
    const { holder, name, clientUrls, ttlMs, released } = record;
    const ageMs = Math.max(0, Math.round(this.#nowMs - lastLease.modifiedMs));
    const live = ageMs > ttlMs * LEASE_MARGIN ? 'expired' : 'held';
    return {
      record,
      primary: { holder, name, clientUrls, ttlMs, ageMs, state: released ? 'released' : live },
    };
  }

  /** The last chunk, and the revision of the last one that has any. */
  async #end(
    inventory: Inventory,
    newest: SnapshotHeader | undefined,
  ): Promise<{ epoch: number | undefined; point: LogPoint } | undefined> {
    const { last } = inventory;
    if (last === undefined) {
      if (newest === undefined) return undefined;
      const { sequence, epoch, snapshot, createdAtMs } = newest;
      return { epoch, point: { sequence, revision: snapshot.revision, time: timeText(createdAtMs) } };
    }
    const chunk = await this.#chunk(last.last);
    const point = {
      sequence: last.last,
      revision: await this.#revision(inventory, newest),
      time: timeText(chunk?.createdAtMs ?? last.modifiedMs),
    };
    return { epoch: chunk && this.#epochOf(chunk, last.key, newest), point };
  }

  /** A log that was restored has no epoch but its snapshot's before a server claims it. */
  #epochOf(chunk: LoadedChunk, object: string, newest: SnapshotHeader | undefined): number {
    const { epoch } = decodeHeader(chunk.header, object).header;
    if (epoch > 0) return epoch;
    if (originOfChunk(chunk) === undefined) {
      this.#odd.push({ object, what: 'the log has no epoch: an import that did not end; run it again' });
      return 0;
    }
    if (newest !== undefined && newest.sequence >= chunk.sequence) return newest.epoch;
    this.#odd.push({
      object,
      what: 'the log has no snapshot to begin with: a restore that did not end; run it again',
    });
    return 0;
  }

  async #revision(
    { last, lastChunks, first }: Inventory,
    newest: SnapshotHeader | undefined,
  ): Promise<number | undefined> {
    for (const object of last?.isPack === true ? [last] : [...lastChunks].reverse()) {
      if (newest !== undefined && object.last <= newest.sequence) return newest.snapshot.revision;
      const chunk = await this.#chunk(object.last);
      if (chunk === undefined) return undefined;
      if (chunk.lastRevision > 0) return chunk.lastRevision;
    }
    // A log so short has no revision but the first.
    const isShort = newest === undefined && first?.first === 1 && lastChunks[0]?.key === first.key;
    return isShort ? 1 : undefined;
  }

  /** A chunk, whose object is read whole; undefined if it is damaged or by now deleted. */
  async #chunk(sequence: number): Promise<LoadedChunk | undefined> {
    try {
      // The object that was listed may have been merged since.
      return await this.#reader.chunkAt(sequence);
    } catch (error) {
      this.#damaged(chunkKey(sequence), error);
      return undefined;
    }
  }

  async #oldest(
    { first, last, stored }: Inventory,
    headers: ReadonlyMap<string, SnapshotHeader | undefined>,
  ): Promise<LogPoint | undefined> {
    const chunk = first?.first === 1 ? await this.#chunk(1) : undefined;
    if (first !== undefined && chunk !== undefined && originOfChunk(chunk) === undefined) {
      const isImport = decodeHeader(chunk.header, first.key).header.epoch === 0;
      const point = { sequence: 1, revision: 1, time: timeText(chunk.createdAtMs) };
      const begins = isImport ? await this.#importEnd(last) : point;
      if (begins !== undefined) return begins;
    }
    const readable = stored.find(({ key }) => headers.get(key) !== undefined);
    const header = readable && headers.get(readable.key);
    if (header === undefined) return undefined;
    const { sequence, createdAtMs, snapshot } = header;
    return { sequence, revision: snapshot.revision, time: timeText(createdAtMs) };
  }

  /** Where an import ended: before it there is nothing to restore to. Undefined if its chunks are merged. */
  async #importEnd(last: LogObject | undefined): Promise<LogPoint | undefined> {
    let [low, high] = [1, last?.last ?? 1];
    // Sequences are contiguous up to the first epoch's chunk, and of those beyond none has epoch 0.
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.#epochIn(chunkKey(middle))) === 0) low = middle + 1;
      else high = middle;
    }
    const key = chunkKey(low);
    const chunk = await this.#chunk(low);
    if (chunk === undefined) return undefined;
    const { records } = decodeBody(chunk.body, decodeHeader(chunk.header, key).header, key);
    const revision = records.find(({ importEnd }) => importEnd !== undefined)?.importEnd?.revision;
    return revision === undefined
      ? undefined
      : { sequence: low, revision, time: timeText(chunk.createdAtMs) };
  }

  #snapshot(stored: StoredSnapshot, header: SnapshotHeader | undefined): SnapshotStatus {
    const { key, sequence, size, modifiedMs } = stored;
    return {
      key,
      sequence,
      revision: header?.snapshot.revision,
      compactRevision: header?.snapshot.compactRevision,
      time: timeText(header?.createdAtMs ?? modifiedMs),
      ageMs: Math.max(0, Math.round(this.#nowMs - modifiedMs)),
      records: header?.recordsCount,
      bytes: size,
    };
  }

  /** What the names show to be wrong. Of what came after the list, the lease and newer snapshots may speak already. */
  async #checkEnds({ first, last, stored }: Inventory, lease: LeaseRecord | undefined): Promise<void> {
    if (first === undefined || last === undefined) return;
    const newest = stored[stored.length - 1];
    const odd = (object: string, what: string): void => void this.#odd.push({ object, what });
    if (first.first > 1 && newest === undefined) {
      odd(
        first.key,
        'the log begins here, and there is no snapshot: servers refuse it; what was before is lost',
      );
    }
    const isLost = async (sequence: number): Promise<boolean> =>
      sequence > last.last && !(await this.#reader.has(sequence));
    if (newest !== undefined && (await isLost(newest.sequence))) {
      odd(newest.key, `the log ends before it, at ${last.key}: chunks have been lost`);
    }
    if (lease !== undefined && (await isLost(lease.sequence))) {
      odd(
        last.key,
        `the primary had written chunk ${lease.sequence}: the chunks after this one have been lost`,
      );
    }
  }

  #cost(inventory: Inventory, primary: PrimaryStatus | undefined): StoreStatus['cost'] {
    const { pricePerGbMonth, pricePer1000Puts } = this.#parts;
    const { bytes } = objectsOf(inventory).all;
    const renewals = primary?.state === 'held' ? (HOUR_MS / primary.ttlMs) * LEASE_RENEWALS_PER_TTL : 0;
    const putsLastHour = inventory.recent + Math.round(renewals);
    return {
      pricePerGbMonth,
      storagePerMonth: (bytes / GB) * pricePerGbMonth,
      putsLastHour,
      pricePer1000Puts,
      putsPerMonth: ((putsLastHour * HOURS_PER_MONTH) / 1000) * pricePer1000Puts,
    };
  }

  #damaged(object: string, error: unknown): void {
    if (!(error instanceof CorruptFileError)) throw error;
    if (this.#odd.some((note) => note.object === object)) return;
    const { check, expected, found } = error;
    this.#odd.push({ object, what: `is damaged: ${check}: expected ${expected}, found ${found}` });
  }
}

function forkOf(pin: Uint8Array): string | undefined {
  try {
    const { store } = JSON.parse(asBuffer(pin).toString()) as { store?: unknown };
    return typeof store === 'string' ? store : undefined;
  } catch {
    return undefined;
  }
}

function objectsOf(inventory: Inventory): StoreStatus['objects'] {
  const { chunks, packs, snapshots, leases, pins, references, other } = inventory;
  const all = { objects: 0, bytes: 0 };
  for (const { objects, bytes } of [chunks, packs, snapshots, leases, pins, references, other]) {
    all.objects += objects;
    all.bytes += bytes;
  }
  return { chunks, packs, snapshots, leases, pins, references, other, all };
}

function epochOf(chunk: Uint8Array): number | undefined {
  try {
    return decodeHeader(chunk, '').header.epoch;
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw error;
    return undefined;
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
