import { valueSymbol } from 'piscina';
import type { TaskRunner } from '../../src/main/pool/pool.ts';
import type { WorkerEvents, WorkerPort, Workers } from '../../src/main/state/workers.ts';
import type { LogSnapshotReply, LogSnapshotRequest } from '../../src/workers/contract/log-snapshot.ts';
import type { ReaderReply, ReaderRequest } from '../../src/workers/contract/reader.ts';
import type { TaskRequest } from '../../src/workers/contract/task.ts';
import type { WriterReply, WriterRequest } from '../../src/workers/contract/writer.ts';
import { ReaderState } from '../../src/workers/sqlite/reader-state.ts';
import { SnapshotSource } from '../../src/workers/sqlite/snapshot-source.ts';
import { WriterState } from '../../src/workers/sqlite/state.ts';
import { compressBody } from '../../src/workers/task/compress.ts';
import runTask from '../../src/workers/task.ts';
import type { Life } from './life.ts';
import type { SimRandom } from './sim-random.ts';

/**
 * A process's workers without threads: what the entries in `src/workers` run, in the one thread of the simulation.
 * Messages are cloned as between threads (a buffer that was handed over is gone), and travel for a random while, each
 * way in order.
 */

const ZSTD_LEVEL = 3;
const MESSAGE_MS_MAX = 3;
const TASK_MS_MAX = 10;

/** What a variant may do to messages on their way; answers those that go on. */
export interface Tampering {
  toWriter?(request: WriterRequest): WriterRequest[];
  fromWriter?(reply: WriterReply): WriterReply[];
  fromTask?(task: TaskRequest, result: unknown): unknown;
  /** The cache that a snapshot of the log is made from. */
  snapshotFile?(file: string): string;
}

export interface WorkersParts {
  readonly life: Life;
  readonly random: SimRandom;
  readonly tampering: Tampering;
  /** A worker or a task threw. */
  threw(where: string, error: unknown): void;
}

/** What one worker runs. */
interface Inside<Request, Reply> {
  /** Called first, without a message. */
  open(reply: (reply: Reply, transfer?: ArrayBuffer[]) => void): void;
  handle(request: Request): void | Promise<void>;
  hasIdleWork(): boolean;
  idle(): void;
  close(): void;
}

class Port<Request extends { type: string }, Reply extends { type: string }>
  implements WorkerPort<Request, Reply>
{
  readonly #parts: WorkersParts;
  readonly #name: string;
  readonly #inside: Inside<Request, Reply>;
  #events: WorkerEvents<Reply> | undefined;
  /** When the last message each way arrives, in the world's time. */
  readonly #arrivesMs = { in: 0, out: 0 };
  #idling = false;
  #open = false;

  constructor(parts: WorkersParts, name: string, inside: Inside<Request, Reply>) {
    this.#parts = parts;
    this.#name = name;
    this.#inside = inside;
    this.#travel('in', `${name} opens`, () =>
      this.#guard(() => {
        this.#open = true;
        inside.open((reply, transfer) => this.#reply(reply, transfer));
      }),
    );
    parts.life.onEnd(() => this.#close());
  }

  postMessage(request: Request, transfer: ArrayBuffer[] = []): void {
    const copy = structuredClone(request, { transfer });
    this.#travel('in', `${this.#name} ${request.type}`, () => this.#take(copy));
  }

  listen(events: WorkerEvents<Reply>): void {
    this.#events = events;
  }

  #take(request: Request): void | Promise<void> {
    if (!this.#open) return undefined;
    if (request.type === 'close') {
      this.#end();
      return undefined;
    }
    return this.#guard(() => this.#inside.handle(request));
  }

  /** Work that can wait runs between messages. */
  #scheduleIdle(): void {
    if (this.#idling || !this.#open || !this.#inside.hasIdleWork()) return;
    this.#idling = true;
    const delayMs = this.#parts.random.skewed(0, MESSAGE_MS_MAX);
    this.#parts.life.after(delayMs, `${this.#name} idle`, () => {
      this.#idling = false;
      return this.#guard(() => {
        if (this.#open) this.#inside.idle();
      });
    });
  }

  #guard(work: () => void | Promise<void>): void | Promise<void> {
    try {
      const done = work();
      if (done !== undefined) return done.catch((error: unknown) => this.#fail(error));
      this.#scheduleIdle();
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  #fail(error: unknown): void {
    this.#parts.threw(this.#name, error);
    const message = error instanceof Error ? error.message : String(error);
    this.#travel('out', `${this.#name} failed`, () =>
      this.#events?.message({ type: 'failed', message } as unknown as Reply),
    );
    this.#end();
  }

  #reply(reply: Reply, transfer: ArrayBuffer[] = []): void {
    const copy = structuredClone(reply, { transfer });
    this.#travel('out', `main ${reply.type}`, () => this.#events?.message(copy));
  }

  #end(): void {
    this.#close();
    this.#travel('out', `main ${this.#name} ended`, () => this.#events?.exit());
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#inside.close();
  }

  #travel(way: 'in' | 'out', kind: string, arrive: () => void | Promise<void>): void {
    const { life, random } = this.#parts;
    const { nowMs } = life.scheduler;
    this.#arrivesMs[way] = Math.max(this.#arrivesMs[way], nowMs + random.skewed(0.01, MESSAGE_MS_MAX));
    life.after(this.#arrivesMs[way] - nowMs, kind, arrive);
  }
}

/** The workers of one process. */
export function simWorkers(parts: WorkersParts): Workers {
  const { toWriter = (request) => [request], fromWriter = (reply) => [reply] } = parts.tampering;
  return {
    writer: (data) => {
      let state: WriterState;
      return new Port<WriterRequest, WriterReply>(parts, 'writer', {
        open: (reply) => {
          state = new WriterState(data, (message, transfer) => {
            const passed = fromWriter(message);
            for (const one of passed) reply(one, one === message ? transfer : []);
          });
          state.open();
        },
        handle: (request) => {
          for (const one of toWriter(request)) state.handle(one);
        },
        hasIdleWork: () => state.hasIdleWork,
        idle: () => state.idle(),
        close: () => closeQuietly(() => state.handle({ type: 'close' })),
      });
    },
    reader: (data) => {
      let state: ReaderState;
      let send: (reply: ReaderReply) => void;
      return new Port<ReaderRequest, ReaderReply>(parts, 'reader', {
        open: (reply) => {
          send = reply;
          state = new ReaderState(data);
        },
        handle: (request) => {
          if (request.type !== 'close') state.handle(request, send);
        },
        hasIdleWork: () => state.hasIdleWork,
        idle: () => state.idle(),
        close: () => closeQuietly(() => state.close()),
      });
    },
    logSnapshot: (data) => {
      let source: SnapshotSource;
      let send: (reply: LogSnapshotReply) => void;
      let isHeader = true;
      return new Port<LogSnapshotRequest, LogSnapshotReply>(parts, 'snapshot', {
        open: (reply) => {
          send = reply;
          const cacheFile = parts.tampering.snapshotFile?.(data.cacheFile) ?? data.cacheFile;
          source = new SnapshotSource({ ...data, cacheFile });
          send({ type: 'begun', sequence: source.position.sequence, records: source.records });
        },
        handle: async () => {
          const piece = source.next();
          if (piece === undefined) return send({ type: 'end', crc: source.crc! });
          const bytes = isHeader ? piece : new Uint8Array(await compressBody(piece, ZSTD_LEVEL));
          isHeader = false;
          send({ type: 'piece', bytes, records: source.recordsTaken });
        },
        hasIdleWork: () => false,
        idle: () => undefined,
        close: () => closeQuietly(() => source.close()),
      });
    },
  };
}

/** What was closed already, or never opened, is closed. */
function closeQuietly(close: () => void): void {
  try {
    close();
  } catch {
    // Whoever dies does not mind.
  }
}

/** The task pool of one process: several tasks at a time, which end in any order. */
export function simTasks({ life, random, threw, tampering }: WorkersParts): TaskRunner {
  const fromTask = tampering.fromTask ?? ((_: TaskRequest, result: unknown): unknown => result);
  return {
    run: (task, options) =>
      new Promise((resolve, reject) => {
        const transfer = options?.transferList ?? [];
        const copy = structuredClone(task, { transfer });
        const answer = (settle: () => void): void => {
          life.after(random.skewed(0.01, MESSAGE_MS_MAX), `main ${task.type} done`, settle);
        };
        life.after(random.skewed(0.01, TASK_MS_MAX), `task ${task.type}`, async () => {
          try {
            const result = (await runTask(copy)) as object | undefined;
            const value = structuredClone(
              result !== undefined && valueSymbol in result ? result[valueSymbol as keyof object] : result,
            );
            answer(() => resolve(fromTask(task, value)));
          } catch (error) {
            threw(`task ${task.type}`, error);
            answer(() => reject(error));
          }
        });
      }),
    close: async () => undefined,
    destroy: async () => undefined,
  };
}
