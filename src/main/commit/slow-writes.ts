import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log, LogFields } from '../../shared/base/log.ts';
import type { AppendAttempt } from '../store/append.ts';
import type { Batch } from './batch.ts';
import { RecentP99 } from './recent-p99.ts';
import { WRITE_STAGES, type WriteTime, writeTime } from './write-time.ts';

/** Where p99 decides, what is faster is not worth a line; and until it is known, this decides. As etcd's. */
const TOLD_MS_MIN = 100;
/** One line at once, then the slowest of each such span. */
const TELL_EVERY_MS = 60_000;

/** Slow writes of one batch. */
export interface SlowBatch {
  readonly writes: number;
  /** Of all of them together. */
  readonly sums: Readonly<WriteTime>;
  /** Of their upload. */
  readonly requests: readonly Pick<AppendAttempt, 'request'>[];
}

export interface SlowWriteMeter {
  slow(batch: SlowBatch): void;
  /** Writes that take longer are slow from now on. */
  threshold(ms: number): void;
}

export interface SlowWriteParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: SlowWriteMeter;
}

/** Which writes are slow, and whether the log says so. */
export type SlowWriteRule =
  | { readonly kind: 'p99' | 'off' }
  | { readonly kind: 'fixed'; readonly slowerThanMs: number };

/**
 * Says where the time of slow writes went. Every one is counted; the log names the slowest, at most once a minute, and how
 * many it left out, and at its level `debug` every batch with slow writes. Without slow writes it costs one addition a
 * write: the rest is done once per batch that has any.
 */
export class SlowWrites {
  readonly #rule: SlowWriteRule;
  readonly #parts: SlowWriteParts;
  readonly #p99 = new RecentP99();
  #thresholdMs: number;
  #toldMs = Number.NEGATIVE_INFINITY;
  /** The slowest that is not told yet; then `#timer` is set. */
  #held: { readonly fields: LogFields; readonly latencyMs: number } | undefined;
  #timer: Timer | undefined;
  #heldBatches = 0;
  #heldWrites = 0;

  constructor(rule: SlowWriteRule, parts: SlowWriteParts) {
    this.#rule = rule;
    this.#parts = parts;
    this.#thresholdMs = rule.kind === 'fixed' ? rule.slowerThanMs : TOLD_MS_MIN;
    parts.meter.threshold(this.#thresholdMs);
  }

  /** All of the batch is answered. */
  finished(batch: Batch): void {
    const { answered } = batch.times;
    const { requests } = batch;
    // The first ones arrived first.
    let slow = 0;
    while (slow < requests.length && answered - requests[slow]!.arrivedMs > this.#thresholdMs) slow++;
    if (slow > 0) this.#slow(batch, slow);
    if (this.#rule.kind === 'fixed') return;
    for (const { arrivedMs } of requests) this.#p99.record(answered - arrivedMs);
    if (this.#p99.turn(answered)) this.#setThreshold(this.#p99.value!);
  }

  #setThreshold(ms: number): void {
    this.#thresholdMs = ms;
    this.#parts.meter.threshold(ms);
  }

  #slow(batch: Batch, writes: number): void {
    const slowest = writeTime(batch, batch.requests[0]!.arrivedMs);
    const sums = { ...slowest };
    for (let index = 1; index < writes; index++) {
      const time = writeTime(batch, batch.requests[index]!.arrivedMs);
      for (const stage of WRITE_STAGES) sums[stage] += time[stage];
    }
    this.#parts.meter.slow({ writes, sums, requests: batch.attempts });
    const latencyMs = batch.times.answered - batch.requests[0]!.arrivedMs;
    if (this.#rule.kind === 'off' || (this.#rule.kind === 'p99' && latencyMs < TOLD_MS_MIN)) return;
    this.#tell(latencyMs, writes, slowWriteFields(batch, slowest, this.#thresholdMs, writes));
  }

  #tell(latencyMs: number, writes: number, fields: LogFields): void {
    const { clock, log } = this.#parts;
    log.debug('slow writes', fields);
    const now = clock.monotonicMs();
    if (this.#held === undefined && now - this.#toldMs >= TELL_EVERY_MS) {
      this.#toldMs = now;
      log.info('slow write', fields);
      return;
    }
    if (this.#held === undefined)
      this.#timer = clock.after(this.#toldMs + TELL_EVERY_MS - now, () => this.#tellHeld());
    if (this.#held === undefined || latencyMs > this.#held.latencyMs) this.#held = { fields, latencyMs };
    this.#heldBatches++;
    this.#heldWrites += writes;
  }

  /** The process ends: says what it kept for later. */
  flush(): void {
    if (this.#held !== undefined) this.#tellHeld();
  }

  #tellHeld(): void {
    const { fields } = this.#held!;
    const leftOut = {
      batches: this.#heldBatches - 1,
      writes: this.#heldWrites - (fields['slowWrites'] as number),
    };
    this.#timer?.cancel();
    this.#held = undefined;
    this.#heldBatches = 0;
    this.#heldWrites = 0;
    this.#toldMs = this.#parts.clock.monotonicMs();
    this.#parts.log.info('slow write', leftOut.batches > 0 ? { ...fields, leftOut } : fields);
  }
}

/** What the log says of the slowest write of a batch; its `…Ms` after `slowerThanMs` add up to `latencyMs`. */
function slowWriteFields(batch: Batch, time: WriteTime, thresholdMs: number, slowWrites: number): LogFields {
  const stages = WRITE_STAGES.map((stage) => [`${stage}Ms`, rounded(time[stage])] as const);
  const sequence = batch.evaluated?.sequence ?? 0;
  return {
    ...(sequence > 0 ? { sequence } : { changed: 'nothing' }),
    latencyMs: rounded(WRITE_STAGES.reduce((sum, stage) => sum + time[stage], 0)),
    slowerThanMs: rounded(thresholdMs),
    ...Object.fromEntries(stages),
    ...waitedForField(batch),
    requests: requestFields(batch),
    writes: batch.requests.length,
    slowWrites,
  };
}

function waitedForField({ waitedFor }: Batch): LogFields {
  if (waitedFor === undefined) return {};
  return { turnAfter: waitedFor > 0 ? waitedFor : 'a batch that changed nothing' };
}

/** Each with when it was sent, counted from the first, and how long it took: so far, if it is still under way. */
function requestFields({ attempts, times }: Batch): LogFields[] {
  const first = attempts[0]?.sentMs ?? 0;
  const decisive = decisiveOf(attempts);
  return attempts.map((attempt) => {
    const { request, outcome, sentMs, latencyMs, error } = attempt;
    const tookMs = outcome === 'pending' ? times.answered - sentMs : latencyMs;
    return {
      request,
      sentMs: rounded(sentMs - first),
      tookMs: rounded(tookMs),
      outcome,
      ...(error === undefined ? {} : { error }),
      ...(attempt === decisive ? { decided: true } : {}),
    };
  });
}

/** The earliest answer that said that the object is there. */
function decisiveOf(attempts: readonly AppendAttempt[]): AppendAttempt | undefined {
  const endedMs = ({ sentMs, latencyMs }: AppendAttempt): number => sentMs + latencyMs;
  const answers = attempts.filter(({ outcome }) => outcome === 'created' || outcome === 'read');
  return answers.sort((a, b) => endedMs(a) - endedMs(b))[0];
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
