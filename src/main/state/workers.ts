import { Worker } from 'node:worker_threads';
import { WORKER_LIMITS } from '../../shared/model/limits.ts';
import { threadEntry } from '../../workers/contract/entry.ts';
import type {
  LogSnapshotData,
  LogSnapshotReply,
  LogSnapshotRequest,
} from '../../workers/contract/log-snapshot.ts';
import type { ReaderData, ReaderReply, ReaderRequest } from '../../workers/contract/reader.ts';
import type { MeasuredThread } from '../../workers/contract/thread.ts';
import type { WriterData, WriterReply, WriterRequest } from '../../workers/contract/writer.ts';

/** What a worker's client hears of it. */
export interface WorkerEvents<Reply> {
  message(reply: Reply): void;
  /** It threw; `exit` follows. */
  error(error: Error): void;
  exit(): void;
}

/** A worker as its typed client sees it: messages both ways, each way in order. */
export interface WorkerPort<Request, Reply> {
  /** Buffers in `transfer` are handed over instead of being copied. */
  postMessage(request: Request, transfer?: ArrayBuffer[]): void;
  /** Called once, in the turn in which the worker was opened. */
  listen(events: WorkerEvents<Reply>): void;
}

/** Opens workers: threads in production; in a simulation what they run, in the one thread. */
export interface Workers {
  writer(data: WriterData): WorkerPort<WriterRequest, WriterReply>;
  reader(data: ReaderData): WorkerPort<ReaderRequest, ReaderReply>;
  logSnapshot(data: LogSnapshotData): WorkerPort<LogSnapshotRequest, LogSnapshotReply>;
}

/** Threads of which the writer, the readers and that of lists count their pauses in the buffers that `pausesOf` gives them. */
export function measuredThreads(
  pausesOf: (thread: 'writer' | 'reader' | 'lists') => SharedArrayBuffer,
): Workers {
  return {
    ...threads,
    writer: (data) => new ThreadPort(WRITER, measured(data, pausesOf('writer'))),
    reader: (data) => new ThreadPort(READER, measured(data, pausesOf(data.lists ? 'lists' : 'reader'))),
  };
}

function measured<T>(data: T, pauses: SharedArrayBuffer): T & MeasuredThread {
  return { ...data, pauses };
}

const WRITER = threadEntry('writer');
const READER = threadEntry('reader');

export const threads: Workers = {
  writer: (data) => new ThreadPort(WRITER, data),
  reader: (data) => new ThreadPort(READER, data),
  logSnapshot: (data) => new ThreadPort(threadEntry('log-snapshot'), data),
};

class ThreadPort<Request, Reply> implements WorkerPort<Request, Reply> {
  readonly #worker: Worker;

  constructor(entry: URL, workerData: unknown) {
    this.#worker = new Worker(entry, { workerData, resourceLimits: WORKER_LIMITS });
  }

  postMessage(request: Request, transfer?: ArrayBuffer[]): void {
    this.#worker.postMessage(request, transfer);
  }

  listen({ message, error, exit }: WorkerEvents<Reply>): void {
    this.#worker.on('message', message);
    this.#worker.on('error', error);
    this.#worker.on('exit', exit);
  }
}
