/**
 * What clients have asked for and not taken yet. A read is cheap to ask for and its answer may be large, so a client that
 * asks and does not read would fill the memory: beyond a bound its further calls wait, as requests, until it has taken
 * some. Nobody else waits for it.
 */

/** Of a connection's room, what large lists may fill: gets and pages go on beside lists that are on their way. */
const LISTS_SHARE = 1 / 8;
/** So many connections' worth in all. */
const ALL_CONNECTIONS = 4;
/** What every connection may have waiting even when there is no room left in all. */
const ALWAYS_BYTES = 256 * 1024;
/** So many wait before it is looked for those whose clients have taken them back. */
const WAITING_LOOK = 1_000;

/** A call that is for a client. */
export interface Wanted {
  readonly room: AnswerRoom;
  /** Nobody waits for its answer any more. */
  readonly gone: boolean;
}

/** A call that waits for room; one of the two is called, once. */
interface Waiting {
  readonly wanted: Pick<Wanted, 'gone'>;
  /** There may be room: it is to be looked for again. */
  go(): void;
  /** Nobody waits for it any more. */
  drop(): void;
}

/** Of all connections. */
export class AnswerRooms {
  readonly bytesMax: number;
  readonly #waiting = new Set<AnswerRoom>();
  #bytes = 0;

  /** `bytesMax` is for one connection. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Of answers that wait for their clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Calls that wait. */
  get waiting(): number {
    return [...this.#waiting].reduce((sum, room) => sum + room.waiting, 0);
  }

  get isFull(): boolean {
    return this.#bytes >= this.bytesMax * ALL_CONNECTIONS;
  }

  open(): AnswerRoom {
    return new AnswerRoom(this);
  }

  /** For rooms alone. */
  changed(room: AnswerRoom, bytes: number): void {
    const wasFull = this.isFull;
    this.#bytes += bytes;
    if (room.waiting > 0) this.#waiting.add(room);
    else this.#waiting.delete(room);
    if (wasFull && !this.isFull) for (const other of [...this.#waiting]) other.look();
  }
}

/** Of one connection. */
export class AnswerRoom {
  readonly #all: AnswerRooms;
  #bytes = 0;
  #answers = 0;
  /** The largest of those that are here is at least so large. */
  #largestBytes = 0;
  #lists: Waiting[] = [];
  #others: Waiting[] = [];
  #lookedAt = 0;
  #closed = false;

  constructor(all: AnswerRooms) {
    this.#all = all;
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#lists.length + this.#others.length;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Whether a call must wait. One answer may be as large as it is and keeps nobody waiting, so that small calls go on
   * beside a large list; what counts is what comes on top of the largest.
   */
  isFull(forList: boolean): boolean {
    if (this.#answers === 0) return false;
    if (this.#all.isFull && this.#bytes > ALWAYS_BYTES) return true;
    if (this.#answers === 1) return false;
    const { bytesMax } = this.#all;
    return this.#bytes - this.#largestBytes >= (forList ? bytesMax * LISTS_SHARE : bytesMax);
  }

  /** Keeps a call until there is room again. */
  wait(call: Waiting, forList: boolean): void {
    if (this.#closed) return call.drop();
    (forList ? this.#lists : this.#others).push(call);
    this.#all.changed(this, 0);
    if (this.waiting >= this.#lookedAt + WAITING_LOOK) this.#forgetGone();
  }

  /** An answer is there. */
  fill(bytes: number): void {
    if (this.#closed) return;
    this.#bytes += bytes;
    this.#answers++;
    this.#largestBytes = Math.max(this.#largestBytes, bytes);
    this.#all.changed(this, bytes);
  }

  /** An answer that was there has left, or nobody wants it. */
  empty(bytes: number): void {
    if (this.#closed) return;
    this.#bytes -= bytes;
    this.#answers--;
    // Of those that are left none is known, but one is as large as their mean.
    if (bytes >= this.#largestBytes) this.#largestBytes = this.#answers > 0 ? this.#bytes / this.#answers : 0;
    this.#all.changed(this, -bytes);
    this.look();
  }

  /** Lets calls go for which there is room. */
  look(): void {
    if (this.#others.length > 0 && !this.isFull(false)) this.#release(this.#others.splice(0));
    if (this.#lists.length > 0 && !this.isFull(true)) this.#release(this.#lists.splice(0));
  }

  /** The connection is gone, and what was for it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const waiting = [...this.#lists.splice(0), ...this.#others.splice(0)];
    this.#all.changed(this, -this.#bytes);
    this.#bytes = 0;
    for (const call of waiting) call.drop();
  }

  #release(calls: readonly Waiting[]): void {
    this.#lookedAt = 0;
    this.#all.changed(this, 0);
    for (const call of calls) {
      if (call.wanted.gone) call.drop();
      else call.go();
    }
  }

  #forgetGone(): void {
    const isGone = ({ wanted }: Waiting): boolean => wanted.gone;
    const gone = [...this.#lists, ...this.#others].filter(isGone);
    this.#lists = this.#lists.filter((call) => !isGone(call));
    this.#others = this.#others.filter((call) => !isGone(call));
    this.#lookedAt = this.waiting;
    for (const call of gone) call.drop();
  }
}
