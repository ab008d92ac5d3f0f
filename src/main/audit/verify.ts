import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { CorruptFileError, hex64 } from '../../shared/format/corrupt.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import { decodeLease } from '../cluster/lease-record.ts';
import type { TaskPool } from '../pool/pool.ts';
import { Progress } from '../recovery/progress.ts';
import { listSnapshots, readSnapshotHeader, type StoredSnapshot } from '../recovery/snapshot-list.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import type { Workers } from '../state/workers.ts';
import type { ReadableStore } from '../store/store.ts';
import { ChunkSource, type ReadChunk } from './chunk-source.ts';
import { type Finding, findingOf, type Note } from './finding.ts';
import { type Inventory, takeInventory, unknownText } from './inventory.ts';
import { LogCheck } from './log-check.ts';
import { StateCheck } from './state-check.ts';

/** There is nothing in the store that could be verified. */
class NoLogError extends Error {
  override name = 'NoLogError';
}

export interface VerifyParts {
  readonly store: ReadableStore;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame' | 'openPiece' | 'inflate' | 'compareCaches'>;
  readonly workers: Pick<Workers, 'writer'>;
  readonly clock: Clock;
  /** An empty directory for two copies of the state. */
  readonly directory: string;
  readonly log: Log;
}

/** A snapshot that is whole. */
interface VerifiedSnapshot {
  readonly key: string;
  readonly sequence: number;
  readonly revision: number;
  readonly records: number;
  readonly bytes: number;
  /** What the same state was made of; undefined where nothing before it is there. */
  readonly comparedWith: string | undefined;
}

export interface VerifyResult {
  readonly whole: boolean;
  readonly damages: readonly Finding[];
  readonly notes: readonly Note[];
  /** The end of the log. */
  readonly sequence: number;
  readonly epoch: number;
  /** Undefined where the state at the end of the log is not known. */
  readonly revision: number | undefined;
  readonly compactRevision: number | undefined;
  readonly clusterId: string | undefined;
  /** Chunks that are the log, and what was read. */
  readonly chunks: number;
  readonly records: number;
  readonly bytes: number;
  readonly snapshots: readonly VerifiedSnapshot[];
}

/**
 * Reads a store's log and snapshots whole, and says everything that is wrong with them. Writes nothing to the store;
 * what a server writes meanwhile is no damage. Rejects when the store can't be read, or holds no log. Memory does not
 * grow with the store.
 */
export async function verifyStore(parts: VerifyParts): Promise<VerifyResult> {
  const state = await StateCheck.open({
    ...parts,
    reopen: (sequence) => new ChunkSource(parts).open(sequence),
  });
  try {
    return await new Verification(parts, state).run();
  } finally {
    await state.close();
  }
}

class Verification {
  readonly #parts: VerifyParts;
  readonly #state: StateCheck;
  readonly #source: ChunkSource;
  readonly #check = new LogCheck();
  readonly #progress: Progress;
  readonly #damages: Finding[] = [];
  readonly #notes: Note[] = [];
  readonly #verified: VerifiedSnapshot[] = [];
  /** Those that wait for their place in the log, the oldest first. */
  #waiting: StoredSnapshot[] = [];
  /** Of the last origin: a log that begins with a snapshot. */
  #originSequence = 0;
  #records = 0;
  #bytes = 0;
  #bytesTotal = 0;

  constructor(parts: VerifyParts, state: StateCheck) {
    this.#parts = parts;
    this.#state = state;
    this.#source = new ChunkSource(parts);
    this.#progress = new Progress(parts.clock, parts.log, 'verifying');
  }

  async run(): Promise<VerifyResult> {
    const { store } = this.#parts;
    const inventory = await takeInventory(store);
    const { chunks, packs, snapshots, stored, unknown } = inventory;
    if (chunks.objects === 0 && packs.objects === 0 && stored.length === 0) {
      throw new NoLogError(
        `${store.url} holds no log: nothing to verify; is it the right bucket and prefix?`,
      );
    }
    this.#bytesTotal = chunks.bytes + packs.bytes + snapshots.bytes;
    this.#notes.push(...unknown.map((object) => ({ object, what: unknownText(object) })));
    const durableTo = Math.max(await this.#leasedTo(inventory), stored[stored.length - 1]?.sequence ?? 0);
    this.#waiting = [...stored];
    for (let from: number | undefined = 1; from !== undefined; ) from = await this.#walk(from);
    await this.#snapshotsBefore(Number.POSITIVE_INFINITY);
    await this.#losing(() => this.#check.end(durableTo));
    await this.#flush();
    this.#checkEpoch();
    return this.#result();
  }

  /** Up to where the log was durable when the lease was last written; 0 if nothing says it. */
  async #leasedTo({ lastLease }: Inventory): Promise<number> {
    const object = lastLease === undefined ? undefined : await this.#parts.store.get(lastLease.key);
    const lease = object && decodeLease(object);
    if (object !== undefined && lease === undefined) {
      this.#notes.push({
        object: lastLease!.key,
        what: 'can not be read; a standby takes over when its TTL has passed',
      });
    }
    return lease?.sequence ?? 0;
  }

  /** Goes through the chunks from a sequence on; answers from where to do it again, because more has come. */
  async #walk(from: number): Promise<number | undefined> {
    for await (const read of this.#source.from(from)) {
      const { sequence, look } = read;
      await this.#snapshotsBefore(sequence);
      const check = this.#check;
      if (check.provesLoss(sequence, look) && (await this.#source.has(check.next))) {
        check.again();
        return check.next;
      }
      this.#records += read.chunk?.records ?? 0;
      this.#bytes += read.bytes;
      this.#show();
      await this.#take(read);
    }
    return undefined;
  }

  async #take({ sequence, look, chunk }: ReadChunk): Promise<void> {
    const isGone = look.facts === undefined && look.damage === undefined;
    const known = isGone ? await this.#lookOfGone(sequence) : look;
    let isLog = false;
    const lost = await this.#losing(
      () => {
        isLog = this.#check.take(sequence, known);
      },
      this.#check.provesLoss(sequence, known),
    );
    if (!isLog || lost || chunk === undefined) return;
    if (look.facts?.isOrigin === true) {
      // The state comes from the snapshot of this sequence, and from no chunk.
      this.#state.lose();
      this.#originSequence = sequence;
      return;
    }
    this.#found(await this.#state.apply(chunk));
  }

  /** Of a chunk that was listed: retention has deleted it, unless no snapshot holds it. */
  async #lookOfGone(sequence: number): Promise<{ damage?: Finding }> {
    const snapshots = await listSnapshots(this.#parts.store);
    if (snapshots.some((snapshot) => snapshot.sequence >= sequence)) return {};
    const object = chunkKey(sequence);
    return { damage: { object, place: '', check: 'chunk', expected: 'there', found: 'deleted meanwhile' } };
  }

  /** Does what may find out that part of the log is lost; then the state is, too. Answers whether it did. */
  async #losing(action: () => void, mayBeMissing = true): Promise<boolean> {
    // Retention may have gone on since the last look.
    if (mayBeMissing) this.#check.heldTo = await this.#heldTo();
    const { losses } = this.#check;
    const damages = this.#check.damages.length;
    action();
    const lost = this.#check.losses !== losses || this.#check.damages.length !== damages;
    if (!lost) return false;
    // What stands before the loss is still applied, so that a snapshot there can be compared.
    await this.#flush();
    this.#state.lose();
    return true;
  }

  /** What the oldest snapshot holds may be deleted. */
  async #heldTo(): Promise<number> {
    const { store } = this.#parts;
    const oldest = (await listSnapshots(store)).pop();
    if (oldest === undefined) return 0;
    const header = await readSnapshotHeader(store, oldest).catch(undefinedIfDamaged);
    return header === undefined ? oldest.sequence : header.snapshot.nextSequence - 1;
  }

  async #flush(): Promise<void> {
    this.#found(await this.#state.flush());
  }

  #found(finding: Finding | undefined): void {
    if (finding !== undefined) this.#damages.push(finding);
  }

  async #snapshotsBefore(sequence: number): Promise<void> {
    while (this.#waiting.length > 0 && this.#waiting[0]!.sequence < sequence) {
      await this.#snapshot(this.#waiting.shift()!);
    }
  }

  async #snapshot(snapshot: StoredSnapshot): Promise<void> {
    await this.#flush();
    if (this.#check.next <= snapshot.sequence) await this.#losing(() => this.#check.reach(snapshot.sequence));
    try {
      await this.#readSnapshot(snapshot);
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      const now = (await listSnapshots(this.#parts.store)).find(({ key }) => key === snapshot.key);
      if (now === undefined) this.#notes.push({ object: snapshot.key, what: 'deleted meanwhile' });
      else if (now.size !== snapshot.size || now.modifiedMs !== snapshot.modifiedMs)
        await this.#snapshot(now);
      else this.#damages.push(findingOf(error));
    }
  }

  async #readSnapshot(snapshot: StoredSnapshot): Promise<void> {
    const { key, sequence, size } = snapshot;
    const header = await readSnapshotHeader(this.#parts.store, snapshot);
    if (header === undefined) return void this.#notes.push({ object: key, what: 'deleted meanwhile' });
    const misplaced = this.#linkFindings(key, header);
    this.#damages.push(...misplaced);
    let comparedWith: string | undefined;
    if (misplaced.length > 0) {
      // Of another log, or of none: only what it says of itself can be checked.
      await readSnapshot(this.#parts, snapshot);
      this.#took(header.recordsCount, size);
    } else {
      const outcome = await this.#state.snapshot(snapshot, (records, bytes) => this.#took(records, bytes));
      this.#damages.push(...outcome.findings);
      comparedWith = outcome.comparedWith;
      this.#resume(header);
    }
    const { revision } = header.snapshot;
    this.#verified.push({ key, sequence, revision, records: header.recordsCount, bytes: size, comparedWith });
  }

  /** Where a snapshot says that it stands in the log, against the log as it was followed. */
  #linkFindings(object: string, header: SnapshotHeader): Finding[] {
    const { sequence, crc, epoch, next } = this.#check;
    if (crc === undefined) return [];
    const findings: Finding[] = [];
    const expect = (check: string, expected: string, found: string): void => {
      if (expected !== found) findings.push({ object, place: 'header', check, expected, found });
    };
    if (header.sequence !== sequence) {
      const expected = `that of a chunk of the log, such as ${sequence}`;
      return [{ object, place: 'header', check: 'sequence', expected, found: String(header.sequence) }];
    }
    expect('previous chunk CRC64', hex64(crc), hex64(header.previousChunkCrc));
    expect('epoch', String(epoch), String(header.epoch));
    expect('next_sequence', String(next), String(header.snapshot.nextSequence));
    return findings;
  }

  #resume({ sequence, previousChunkCrc: crc, epoch, snapshot }: SnapshotHeader): void {
    if (this.#check.crc !== undefined) return;
    this.#check.resume({ sequence, crc, epoch, nextSequence: snapshot.nextSequence });
  }

  #took(records: number, bytes: number): void {
    this.#records += records;
    this.#bytes += bytes;
    this.#show();
  }

  #show(): void {
    const [records, bytes] = [this.#records, this.#bytes];
    this.#progress.update(() => ({ records, bytes, bytesTotal: Math.max(bytes, this.#bytesTotal) }));
  }

  #checkEpoch(): void {
    const origin = this.#originSequence;
    const object = chunkKey(Math.max(1, this.#check.sequence));
    if (origin > 0 && this.#verified.every(({ sequence }) => sequence < origin)) {
      const expected = 'the snapshot that the log begins with';
      const found = 'none: a restore that did not end; run it again';
      this.#damages.push({ object: chunkKey(origin), place: '', check: 'origin', expected, found });
    }
    if (this.#check.epoch > 0 || this.#check.losses > 0) return;
    this.#damages.push({
      object,
      place: '',
      check: 'epoch',
      expected: 'the end of an import behind it',
      found: 'the end of the log: an import that did not end; run it again',
    });
  }

  #result(): VerifyResult {
    const damages = [...this.#check.damages, ...this.#source.damages, ...this.#damages];
    const position = this.#state.position;
    return {
      whole: damages.length === 0,
      damages,
      notes: [...this.#check.notes, ...this.#notes],
      sequence: this.#check.sequence,
      epoch: this.#check.epoch,
      revision: position?.revision,
      compactRevision: position?.compactRevision,
      clusterId: position && hex64(position.clusterId),
      chunks: this.#check.chunks,
      records: this.#records,
      bytes: this.#bytes,
      snapshots: this.#verified,
    };
  }
}

function undefinedIfDamaged(error: unknown): undefined {
  if (!(error instanceof CorruptFileError)) throw error;
}
