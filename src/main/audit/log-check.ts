import { assert } from '../../shared/base/assert.ts';
import type { ChainLink } from '../../shared/format/chain.ts';
import { hex64 } from '../../shared/format/corrupt.ts';
import { chunkKey } from '../../shared/format/names.ts';
import { FORK_HOLDER } from '../../shared/format/origin.ts';
import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { EpochClaim } from '../../shared/model/record.ts';
import type { Finding, Note } from './finding.ts';

/** What the log's rules go by. */
export interface ChunkFacts {
  /** What it is called: its key, or its pack's with its own. */
  readonly object: string;
  readonly epoch: number;
  readonly previousChunkCrc: bigint;
  readonly crc: bigint;
  readonly lastRevision: number;
  /** Of an epoch chunk. */
  readonly claim: EpochClaim | undefined;
  /** Whether it says that the log begins with the snapshot of its sequence, as a restore's does. */
  readonly isOrigin: boolean;
}

/** Where the log stands behind a snapshot. */
export interface SnapshotLink extends ChainLink {
  readonly nextSequence: number;
  readonly epoch: number;
}

/** That of the snapshot that a restored log begins with. */
const ORIGIN_EPOCH = 1;
const BEHIND_LOST_EPOCH = 'ignored: it stands behind an epoch chunk that is lost';
/** Deletion of old chunks goes through them in groups of so many; one that was interrupted leaves part of a group. */
const DELETES_AT_ONCE = 16;

/** What came of reading a chunk; neither, if it was deleted after it was listed. */
export interface ChunkLook {
  readonly facts?: ChunkFacts;
  readonly damage?: Finding;
}

/** A chunk behind a hole, of which it is not known yet whether it is the log's. */
interface Beyond {
  readonly sequence: number;
  readonly look: ChunkLook;
}

/**
 * The rules of the log (docs/file-format.md) over a list of its chunks, in the list's order. `LogWalk` stops at the
 * first one that is broken; this goes on behind it, and says of every object what it is.
 *
 * Behind something that is lost (a hole, or a chunk that can't be read) two things are unknown until later chunks
 * show them: the chain, and whether what was lost was an epoch chunk, so that what follows it is ignored. So what is
 * found there is held back until that is known.
 */
export class LogCheck {
  readonly damages: Finding[] = [];
  readonly notes: Note[] = [];
  /** Chunks of the log. */
  chunks = 0;
  epoch = 0;
  next = 1;
  /** Chunks up to here are in every snapshot of the store, and may be deleted; 0 without one. */
  heldTo = 0;
  /** The last chunk of the log; its CRC is unknown behind something that is lost. */
  #last: { sequence: number; crc: bigint | undefined } = { sequence: 0, crc: 0n };
  #lastRevision = 0;
  #clusterId: bigint | undefined;
  #isEpochKnown = true;
  /** How often something was lost. */
  losses = 0;
  #beyond: Beyond[] = [];
  /** What was lost last, while it may have been an epoch chunk. */
  #lost: { sequence: number; epoch: number; damages: number; chunks: number } | undefined;

  /** The last chunk of the log. */
  get sequence(): number {
    return this.#last.sequence;
  }

  /** The CRC that the next chunk, or a snapshot at `sequence`, must name; undefined while it is not known. */
  get crc(): bigint | undefined {
    return this.#last.crc;
  }

  /** Whether taking this chunk would mean that the chunks before it, from `next` on, are lost. */
  provesLoss(sequence: number, { facts }: ChunkLook): boolean {
    if (sequence <= this.next || this.#isBehindLostEpoch(sequence, facts)) return false;
    return sequence > this.next + PIPELINE_DEPTH_MAX || facts?.claim !== undefined;
  }

  /** Takes the next chunk of the list. Answers whether it is part of the log, and in its place. */
  take(sequence: number, look: ChunkLook): boolean {
    if (this.#isBehindLostEpoch(sequence, look.facts)) this.#revealEpoch(sequence);
    if (sequence < this.next) {
      this.#ignored(sequence, look, 'ignored: a fenced process put it after another had taken the log over');
      return false;
    }
    if (sequence === this.next && this.#beyond.length === 0) return this.#accept(sequence, look);
    if (!this.provesLoss(sequence, look)) {
      this.#beyond.push({ sequence, look });
      return false;
    }
    this.#isLost(sequence, look.facts);
    return this.take(sequence, look);
  }

  /** The list is taken anew, from `next` on, because something came meanwhile. */
  again(): void {
    this.#beyond = [];
  }

  /** A snapshot shows that the log went on to `sequence`: what is not there up to it is lost. */
  reach(sequence: number): void {
    if (this.next > sequence) return;
    const [first] = this.#beyond;
    this.#isLost(
      first !== undefined && first.sequence <= sequence ? first.sequence : sequence + 1,
      undefined,
    );
    this.reach(sequence);
  }

  /** Goes on behind a whole snapshot, where the log before it was lost. */
  resume({ sequence, crc, nextSequence, epoch }: SnapshotLink): void {
    assert(sequence >= this.#last.sequence, 'a log is resumed forwards');
    this.#last = { sequence, crc };
    this.next = nextSequence;
    this.epoch = epoch;
    this.#isEpochKnown = true;
    this.#lost = undefined;
    for (const { sequence: ignored, look } of this.#beyond.splice(0)) {
      if (ignored < nextSequence) this.#ignored(ignored, look, 'ignored: a fenced process put it');
    }
  }

  /** The list has ended; a snapshot, or the primary's lease, says that the log went on to `durableTo`. */
  end(durableTo: number): void {
    this.reach(durableTo);
    for (const { sequence, look } of this.#beyond) {
      const what = `ignored: it overtook chunk ${this.next}, which has not come, so nobody was told of it`;
      this.#ignored(sequence, look, what);
    }
  }

  #accept(sequence: number, { facts, damage }: ChunkLook): boolean {
    this.chunks++;
    if (facts === undefined) {
      if (damage !== undefined) this.damages.push(damage);
      this.#lose(sequence, sequence + 1);
      return true;
    }
    this.#checkChain(facts);
    this.#checkEpoch(sequence, facts);
    if (facts.lastRevision > 0) {
      if (facts.lastRevision < this.#lastRevision) {
        this.#damage(facts, 'footer', 'revision', `${this.#lastRevision} or more`, facts.lastRevision);
      }
      this.#lastRevision = facts.lastRevision;
    }
    this.epoch = facts.isOrigin ? ORIGIN_EPOCH : facts.epoch;
    this.#isEpochKnown = true;
    this.#last = { sequence, crc: facts.crc };
    this.next = facts.claim?.skipTo ?? sequence + 1;
    return true;
  }

  #checkChain(facts: ChunkFacts): void {
    const { previousChunkCrc } = facts;
    const { crc, sequence: before } = this.#last;
    if (crc === undefined || crc === previousChunkCrc) return;
    const follows = before === 0 ? 'the start of the log' : chunkKey(before);
    this.#damage(
      facts,
      'header',
      'previous chunk CRC64',
      `${hex64(crc)} (${follows})`,
      hex64(previousChunkCrc),
    );
  }

  #checkEpoch(sequence: number, facts: ChunkFacts): void {
    const { epoch, claim, isOrigin } = facts;
    if (isOrigin && sequence === this.chunks) return;
    const expected = this.epoch + (claim === undefined ? 0 : 1);
    const isRight = this.#isEpochKnown ? epoch === expected : epoch >= expected;
    if (!isRight) this.#damage(facts, 'header', 'epoch', String(expected), epoch);
    if (claim === undefined) return;
    const { skipTo, clusterId } = claim;
    const next = sequence + PIPELINE_DEPTH_MAX + 1;
    if (claim.epoch !== epoch) this.#damage(facts, 'records', 'epoch', String(epoch), claim.epoch);
    if (skipTo !== next) this.#damage(facts, 'records', 'skip_to', String(next), skipTo);
    // A fork's first claim is where it becomes a cluster of its own.
    if (claim.holder === FORK_HOLDER) this.#clusterId = clusterId;
    this.#clusterId ??= clusterId;
    if (clusterId !== this.#clusterId) {
      this.#damage(facts, 'records', 'cluster_id', hex64(this.#clusterId), hex64(clusterId));
    }
  }

  /** The chunks from `next` up to the one before `present` are not there, and must be. */
  #isLost(present: number, facts: ChunkFacts | undefined): void {
    const beyond = this.#beyond.splice(0);
    const from = this.next;
    if (this.#followsEpochAt(from, present, facts, this.epoch)) {
      this.#missing(from, from);
      this.#lose(from, present);
      for (const { sequence, look } of beyond) this.#ignored(sequence, look, BEHIND_LOST_EPOCH);
      return;
    }
    const first = beyond[0]?.sequence ?? present;
    this.#missing(from, first - 1);
    this.#lose(from, first);
    for (const { sequence, look } of beyond) this.take(sequence, look);
  }

  #missing(from: number, to: number): void {
    const object = from === to ? chunkKey(from) : `${chunkKey(from)} … ${chunkKey(to)}`;
    if (to <= this.heldTo && this.chunks < DELETES_AT_ONCE) {
      if (this.chunks > 0) this.notes.push({ object, what: 'deleted, and the chunks before not yet' });
      return;
    }
    this.damages.push({ object, place: '', check: 'chunk', expected: 'there', found: 'missing' });
  }

  #lose(sequence: number, next: number): void {
    this.losses++;
    this.#last = { sequence: next - 1, crc: undefined };
    this.next = next;
    this.#isEpochKnown = false;
    this.#lost = { sequence, epoch: this.epoch, damages: this.damages.length, chunks: this.chunks };
  }

  /** Whether this chunk shows that what was lost last was an epoch chunk. */
  #isBehindLostEpoch(sequence: number, facts: ChunkFacts | undefined): boolean {
    const lost = this.#lost;
    return lost !== undefined && this.#followsEpochAt(lost.sequence, sequence, facts, lost.epoch);
  }

  #followsEpochAt(
    lost: number,
    sequence: number,
    facts: ChunkFacts | undefined,
    epochBefore: number,
  ): boolean {
    if (facts === undefined || sequence !== lost + PIPELINE_DEPTH_MAX + 1) return false;
    return facts.epoch - (facts.claim === undefined ? 0 : 1) === epochBefore + 1;
  }

  /** What was taken for the log since, was put by a fenced process. */
  #revealEpoch(next: number): void {
    const lost = this.#lost!;
    this.damages.length = lost.damages;
    const ignored = this.chunks - lost.chunks + this.#beyond.length;
    this.chunks = lost.chunks;
    this.epoch = lost.epoch;
    this.#isEpochKnown = false;
    this.#beyond = [];
    if (ignored > 0) {
      const object = `${chunkKey(lost.sequence + 1)} … ${chunkKey(next - 1)}`;
      this.notes.push({ object, what: `${ignored} chunks: ${BEHIND_LOST_EPOCH}` });
    }
    this.#last = { sequence: next - 1, crc: undefined };
    this.next = next;
    this.#lost = undefined;
  }

  #ignored(sequence: number, { damage }: ChunkLook, what: string): void {
    const damaged = damage === undefined ? '' : ` (and ${damage.check} is wrong)`;
    this.notes.push({ object: chunkKey(sequence), what: what + damaged });
  }

  #damage(
    { object }: ChunkFacts,
    place: string,
    check: string,
    expected: string,
    found: string | number,
  ): void {
    this.damages.push({ object, place, check, expected, found: String(found) });
  }
}
