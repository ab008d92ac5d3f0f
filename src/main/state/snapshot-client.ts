import { Worker } from 'node:worker_threads';
import { type Random, randomId } from '../../shared/base/random.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { WORKER_LIMITS } from '../../shared/model/limits.ts';
import { threadEntry } from '../../workers/contract/entry.ts';
import type { SnapshotData, SnapshotReply, SnapshotRequest } from '../../workers/contract/snapshot.ts';

export interface SnapshotParts extends Omit<SnapshotData, 'fileName' | 'cancelled'> {
  random: Random;
}

/** A piece of the file; with the last one comes the SHA-256 of all. */
export interface SnapshotPiece {
  bytes: Uint8Array;
  digest: Uint8Array | undefined;
}

interface Waiting {
  resolve(reply: SnapshotReply): void;
  reject(error: Error): void;
}

/** The typed client of a snapshot's thread. It must be closed. */
export class Snapshot {
  readonly #worker: Worker;
  readonly #cancelled = new SharedArrayBuffer(4);
  #waiting: Waiting | undefined;
  #ended: Error | undefined;
  #closed = false;

  constructor({ random, ...parts }: SnapshotParts) {
    const fileName = `snapshot-${randomId(random).toString(16)}.db`;
    const workerData: SnapshotData = { ...parts, fileName, cancelled: this.#cancelled };
    const entry = threadEntry('snapshot');
    this.#worker = new Worker(entry, { workerData, resourceLimits: WORKER_LIMITS });
    this.#worker.on('message', (reply: SnapshotReply) => {
      if (reply.type === 'failed')
        this.#end(reply.noSpace ? new EtcdError('NoSpace') : new Error(reply.message));
      else this.#settle(({ resolve }) => resolve(reply));
    });
    this.#worker.on('error', (error: Error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('the snapshot was closed')));
  }

  /** Resolves with the file's size in bytes when it is complete; call it once, and first. */
  async built(): Promise<number> {
    const reply = await this.#next();
    return reply.type === 'built' ? reply.bytes : 0;
  }

  /** The next piece, of at most `bytesMax`; one at a time. */
  async next(bytesMax: number): Promise<SnapshotPiece> {
    this.#worker.postMessage({ type: 'next', bytesMax } satisfies SnapshotRequest);
    const reply = await this.#next();
    if (reply.type !== 'piece') throw new Error(`unexpected ${reply.type} from the snapshot's thread`);
    return reply;
  }

  /** Ends the thread, whatever it does; its file is gone then. What is awaited rejects. Harmless when closed. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    Atomics.store(new Int32Array(this.#cancelled), 0, 1);
    this.#worker.postMessage({ type: 'close' } satisfies SnapshotRequest);
  }

  #next(): Promise<SnapshotReply> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) reject(this.#ended);
      else this.#waiting = { resolve, reject };
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#settle(({ reject }) => reject(error));
  }

  #settle(settle: (waiting: Waiting) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) settle(waiting);
  }
}
