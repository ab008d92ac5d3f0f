/** Fewer writers than this have little to share; with more, evaluating one batch while another uploads gains more. */
const WRITERS_MIN = 8;
const WRITERS_MAX = 64;

/** How long a batch waits for writers that were answered: a share of what a PUT takes, and what taking them in costs. */
const WAIT_PUT_SHARE = 0.25;
const WAIT_MS_PER_WRITE = 0.06;
/** Who comes later than this after an answer, or after the next one, does not come because of it. */
const RETURN_PUT_SHARE = 0.5;
const RETURN_MS_MIN = 5;
/** Batches that are answered so soon after each other became durable together. */
const TOGETHER_MS = 0.5;

/** How long a batch waits for the one before it, in PUTs: a straggling upload is not waited for. */
const STRAGGLER_PUTS = 1.5;

/** Both shares must be at least this for writers to count as a herd. */
const SHARE_MIN = 0.6;
/** How much the latest batch counts in them. */
const WEIGHT = 1 / 16;

/**
 * Knows clients that each wait for their answer before they write again, and tells how long a batch should wait so that all
 * of them share it. Left alone such clients fall into groups, each with its own chunk, that stay apart for ever; together
 * they need half the PUTs and wait for nobody else's turn. docs/decisions/batch-window-and-hedge.md has the figures.
 *
 * They are known by two signs, which writers that come by themselves do not both show: writes dry up while batches are in
 * flight, and as many come back right after an answer as were answered.
 */
export class Herd {
  readonly #putMs: () => number | undefined;
  /** Of the answers, those before which writes had stopped coming. */
  #dryShare = 0;
  /** Of the writes that were answered, those after which one came back in time. */
  #returnedShare = 0;
  /** Answered last and together, since when, and come since. */
  #answered = 0;
  #answeredMs = Number.NEGATIVE_INFINITY;
  #returned = 0;

  /** `putMs` says what a PUT lately took; undefined while that is not known. */
  constructor(putMs: () => number | undefined) {
    this.#putMs = putMs;
  }

  /** A write came. */
  arrived(nowMs: number): void {
    const returnMs = Math.max(RETURN_MS_MIN, RETURN_PUT_SHARE * (this.#putMs() ?? 0));
    if (nowMs <= this.#answeredMs + returnMs) this.#returned++;
  }

  /** So many writes were answered; `isDry`: none had come for longer than lately between two. */
  answered(writes: number, nowMs: number, isDry: boolean): void {
    if (nowMs > this.#answeredMs + TOGETHER_MS) {
      if (this.#answered > 0)
        this.#returnedShare = learned(this.#returnedShare, this.#returned / this.#answered);
      this.#dryShare = learned(this.#dryShare, isDry ? 1 : 0);
      this.#answered = 0;
      this.#returned = 0;
      this.#answeredMs = nowMs;
    }
    this.#answered += writes;
  }

  /**
   * When the open batch closes, unless more happens until then; undefined: the herd has no say. `waiting` are the writes
   * not answered yet; the oldest that is not in the open batch is on its way since `inFlightSinceMs`.
   */
  dueMs(waiting: number, inFlightSinceMs: number | undefined, nowMs: number): number | undefined {
    const putMs = this.#putMs();
    const away = Math.max(0, this.#answered - this.#returned);
    const writers = waiting + away;
    if (putMs === undefined) return undefined;
    if (writers < WRITERS_MIN || writers > WRITERS_MAX) return undefined;
    if (this.#dryShare < SHARE_MIN || this.#returnedShare < SHARE_MIN) return undefined;
    if (inFlightSinceMs === undefined && away === 0) return undefined;
    const returnedMs = this.#answeredMs + WAIT_PUT_SHARE * putMs + WAIT_MS_PER_WRITE * this.#answered;
    const dueMs = inFlightSinceMs === undefined ? returnedMs : inFlightSinceMs + STRAGGLER_PUTS * putMs;
    return dueMs > nowMs ? dueMs : undefined;
  }
}

function learned(share: number, latest: number): number {
  return share + WEIGHT * (Math.min(1, latest) - share);
}
