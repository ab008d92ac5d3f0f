import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../../../src/shared/base/clock.ts';
import { type Counts, noCounts, type WorkerMessage, type WorkerTask } from './worker.ts';

/** Many inputs in several threads, watched: none may hang, none may fill the memory, none may end a thread. */

export interface CampaignOptions {
  readonly seed: number;
  readonly inputs: number;
  /** The first input's number. */
  readonly from?: number;
  readonly threads?: number;
  /** Ends it when so much time has passed, whatever is left. */
  readonly milliseconds?: number;
  /** Gets a line every few seconds. */
  readonly progress?: (line: string) => void;
}

export interface CampaignReport {
  readonly counts: Counts;
  readonly milliseconds: number;
  readonly residentMiBMax: number;
  /** One line per input that failed, each with what replays it. */
  readonly failures: readonly string[];
}

/** Most inputs take less than a millisecond; the machine may be busy. */
const HANG_MS = 15_000;
const LOOK_MS = 250;
const PROGRESS_MS = 5_000;
const HEAP_MIB_MAX = 512;
/** With zstd's buffers, which are not on any heap. A bomb that goes off would take gigabytes. */
const RESIDENT_MIB_MAX = 2_500;
const FAILURES_MAX = 5;
const WORKER = new URL('./worker.js', import.meta.url);

export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const campaign = new Campaign(options);
  await campaign.run();
  return campaign;
}

class Campaign implements CampaignReport {
  readonly counts = noCounts();
  readonly failures: string[] = [];
  milliseconds = 0;
  residentMiBMax = 0;
  readonly #options: CampaignOptions;
  readonly #threads: Thread[] = [];
  #begunMs = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { threads = 2, from = 0, inputs, seed } = this.#options;
    this.#begunMs = systemClock.monotonicMs();
    for (let index = 0; index < threads; index++) {
      const shared = new Int32Array(new SharedArrayBuffer(8));
      const task = { seed, from: from + index, to: from + inputs, step: threads, shared };
      this.#threads.push(new Thread(task, (message) => this.#take(message)));
    }
    let progressMs = this.#begunMs;
    while (this.#threads.some((thread) => thread.isRunning)) {
      await systemClock.sleep(LOOK_MS);
      this.milliseconds = systemClock.monotonicMs() - this.#begunMs;
      this.#watch();
      if (systemClock.monotonicMs() - progressMs < PROGRESS_MS) continue;
      progressMs = systemClock.monotonicMs();
      this.#options.progress?.(this.#progressLine());
    }
  }

  #take(message: WorkerMessage): void {
    if (message.type === 'counts') add(this.counts, message.counts);
    else if (message.type === 'failed') this.#fail(message.number, message.message, message.input);
  }

  #watch(): void {
    for (const thread of this.#threads) {
      if (thread.stuckMs() > HANG_MS) {
        this.#fail(thread.number, `no answer for ${HANG_MS} ms`);
        thread.kill();
      }
    }
    const residentMiB = process.memoryUsage.rss() / 2 ** 20;
    this.residentMiBMax = Math.max(this.residentMiBMax, Math.round(residentMiB));
    const isLate = this.milliseconds > (this.#options.milliseconds ?? Number.POSITIVE_INFINITY);
    if (residentMiB > RESIDENT_MIB_MAX) {
      const numbers = this.#threads.map(({ number }) => number);
      this.#fail(
        numbers[0]!,
        `${Math.round(residentMiB)} MiB in use, at one of the inputs ${numbers.join(', ')}`,
      );
    }
    if (isLate || residentMiB > RESIDENT_MIB_MAX || this.failures.length >= FAILURES_MAX)
      for (const thread of this.#threads) thread.end();
  }

  #fail(number: number, message: string, input?: Uint8Array): void {
    const { seed } = this.#options;
    const file = join(tmpdir(), `netsy-fuzz-${seed}-${number}.netsy`);
    if (input !== undefined) writeFileSync(file, input);
    const kept = input === undefined ? '' : ` (the input: ${file})`;
    this.failures.push(
      `input ${number}: ${message}${kept}\n  again: npm run fuzz -- --target files --seed ${seed} --only ${number}`,
    );
  }

  #progressLine(): string {
    const { inputs } = this.counts;
    const perSecond = Math.round(inputs / (this.milliseconds / 1_000));
    const at = Math.min(...this.#threads.map(({ number }) => number));
    return `${inputs} inputs, ${perSecond}/s, at input ${at}, ${this.residentMiBMax} MiB at the most, ${this.failures.length} failures`;
  }
}

/** One worker thread, and what it is at. */
class Thread {
  isRunning = true;
  /** The input under way. */
  number = 0;
  readonly #worker: Worker;
  readonly #shared: Int32Array;
  #sinceMs = systemClock.monotonicMs();

  constructor(task: WorkerTask, take: (message: WorkerMessage) => void) {
    this.#shared = task.shared;
    this.#worker = new Worker(WORKER, {
      workerData: task,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    });
    this.#worker.on('message', take);
    this.#worker.on('error', (error: Error) => {
      take({
        type: 'failed',
        number: this.#now(),
        message: `the thread ended: ${error.message}`,
        input: undefined,
      });
    });
    this.#worker.on('exit', () => {
      this.isRunning = false;
    });
  }

  /** For how long it has been at the same input. */
  stuckMs(): number {
    const number = this.#now();
    if (number !== this.number) {
      this.number = number;
      this.#sinceMs = systemClock.monotonicMs();
    }
    return this.isRunning ? systemClock.monotonicMs() - this.#sinceMs : 0;
  }

  /** After the input under way. */
  end(): void {
    Atomics.store(this.#shared, 1, 1);
  }

  kill(): void {
    void this.#worker.terminate();
  }

  #now(): number {
    return Math.max(0, Atomics.load(this.#shared, 0) - 1);
  }
}

function add(to: Counts, from: Counts): void {
  to.inputs += from.inputs;
  to.inspected += from.inspected;
  if (from.slowestMs > to.slowestMs) [to.slowestMs, to.slowest] = [from.slowestMs, from.slowest];
  for (const [name, count] of Object.entries(from.verdicts))
    to.verdicts[name] = (to.verdicts[name] ?? 0) + count;
  for (const [name, count] of Object.entries(from.checks)) to.checks[name] = (to.checks[name] ?? 0) + count;
}
