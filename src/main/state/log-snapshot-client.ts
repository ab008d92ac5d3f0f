import { assert } from '../../shared/base/assert.ts';
import type {
  LogSnapshotBegun,
  LogSnapshotData,
  LogSnapshotReply,
  LogSnapshotRequest,
} from '../../workers/contract/log-snapshot.ts';
import type { WorkerPort, Workers } from './workers.ts';

interface Awaited {
  resolve: (reply: LogSnapshotReply) => void;
  reject: (error: Error) => void;
}

/** The typed client of the thread that builds one snapshot of the log. It must be closed. */
export class LogSnapshot {
  readonly #worker: WorkerPort<LogSnapshotRequest, LogSnapshotReply>;
  #awaited: Awaited | undefined;
  readonly #begun: Promise<LogSnapshotReply>;
  #failure: Error | undefined;
  /** The footer's CRC, once `pieces` came to its end. */
  crc: bigint | undefined;
  /** In the pieces so far, about. */
  recordsDone = 0;

  constructor(data: LogSnapshotData, workers: Pick<Workers, 'logSnapshot'>) {
    this.#worker = workers.logSnapshot(data);
    this.#worker.listen({
      message: (reply) => {
        if (reply.type === 'failed') this.#fail(new Error(reply.message));
        else this.#settle(({ resolve }) => resolve(reply));
      },
      error: (error) => this.#fail(error),
      exit: () => this.#fail(new Error('the snapshot was closed')),
    });
    this.#begun = this.#next();
    this.#begun.catch(() => undefined);
  }

  /** What it will be a snapshot of. Rejects when the cache can't be read. */
  async begun(): Promise<LogSnapshotBegun> {
    const reply = await this.#begun;
    assert(reply.type === 'begun', `unexpected ${reply.type} from the snapshot's thread`);
    return reply;
  }

  /** The object's bytes. The next piece is made when it is asked for. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const awaited = this.#next();
      this.#post({ type: 'next' });
      const reply = await awaited;
      if (reply.type === 'end') {
        this.crc = reply.crc;
        return;
      }
      assert(reply.type === 'piece', `unexpected ${reply.type} from the snapshot's thread`);
      this.recordsDone = reply.records;
      yield reply.bytes;
    }
  }

  close(): void {
    this.#post({ type: 'close' });
  }

  #post(request: LogSnapshotRequest): void {
    this.#worker.postMessage(request);
  }

  #next(): Promise<LogSnapshotReply> {
    assert(this.#awaited === undefined, 'one piece of a snapshot at a time');
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) reject(this.#failure);
      else this.#awaited = { resolve, reject };
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#settle(({ reject }) => reject(error));
  }

  #settle(settle: (awaited: Awaited) => void): void {
    const awaited = this.#awaited;
    this.#awaited = undefined;
    if (awaited !== undefined) settle(awaited);
  }
}
