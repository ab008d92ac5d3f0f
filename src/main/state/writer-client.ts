import { assert } from '../../shared/base/assert.ts';
import type { SnapshotPiece } from '../../workers/contract/task.ts';
import type {
  BegunState,
  EvaluatedMessage,
  FilledPosition,
  FollowedState,
  Held,
  LoadedChunk,
  LogPosition,
  WriterData,
  WriterReply,
  WriterRequest,
} from '../../workers/contract/writer.ts';
import type { WorkerPort, Workers } from './workers.ts';

/** What the commit pipeline and the rooms around it hear from the writer, in the order it happened. */
export interface WriterEvents {
  evaluated(message: EvaluatedMessage): void;
  applied(applied: Extract<WriterReply, { type: 'applied' }>): void;
  compacted(revision: number): void;
  defragmented(): void;
  /** The disk under the cache refuses writes; `undefined` when it takes them again. */
  diskTrouble(message: string | undefined): void;
  /** The writer can't go on; the process has to end. */
  failed(error: Error): void;
}

/** The typed client of the SQLite writer's thread. */
export class WriterClient {
  readonly #worker: WorkerPort<WriterRequest, WriterReply>;
  readonly #exited: Promise<void>;
  readonly #events: WriterEvents;
  #inTrouble = false;
  /** The answer awaited by the recovery call under way; one at a time. */
  #awaited:
    | { type: WriterReply['type']; resolve: (reply: WriterReply) => void; reject: (e: Error) => void }
    | undefined;
  readonly #holders: (() => void)[] = [];
  readonly #truncations: ((truncated: boolean) => void)[] = [];
  #closed = false;

  constructor(data: WriterData, events: WriterEvents, workers: Pick<Workers, 'writer'>) {
    this.#events = events;
    this.#worker = workers.writer(data);
    this.#exited = new Promise((resolve) => {
      this.#worker.listen({
        message: (reply) => this.#receive(reply),
        error: (error) => this.#fail(error),
        exit: () => {
          if (!this.#closed) this.#fail(new Error('the SQLite writer ended'));
          resolve();
        },
      });
    });
  }

  /** Resolves when the cache is open: where it stands, and why it had to be thrown away, if it had to. */
  async opened(): Promise<{ position: LogPosition; rebuilt: string }> {
    return this.#await('opened');
  }

  /** Throws the cache away. */
  async reset(): Promise<LogPosition> {
    this.#post({ type: 'reset' });
    return (await this.#await('reset')).position;
  }

  /** Applies the next chunks of the log. Rejects if a CRC or the chain does not hold. */
  async load(chunks: LoadedChunk[]): Promise<LogPosition> {
    this.#post({ type: 'load', chunks }, buffersOf(chunks));
    return (await this.#await('loaded')).position;
  }

  /** As `load`, for a standby, which tells its watchers. Nothing is applied while the disk refuses writes. */
  async follow(chunks: LoadedChunk[]): Promise<FollowedState> {
    this.#post({ type: 'follow', chunks }, buffersOf(chunks));
    return this.#await('followed');
  }

  /** Throws the cache away, to fill it from a snapshot. */
  async fillBegin(): Promise<void> {
    this.#post({ type: 'fillBegin' });
    await this.#await('filling');
  }

  /** The snapshot's next piece, whose CRCs hold. Gives its rows away. */
  async fill(piece: Omit<SnapshotPiece, 'tally'>): Promise<void> {
    this.#post({ type: 'fill', piece }, [piece.rows.buffer as ArrayBuffer]);
    await this.#await('filling');
  }

  /** Makes what was filled the cache. */
  async fillEnd(position: FilledPosition): Promise<LogPosition> {
    this.#post({ type: 'fillEnd', position });
    return (await this.#await('loaded')).position;
  }

  /** Ends recovery: answers the state at the end of the log, from where the writer may evaluate if it is claimed. */
  async begin(): Promise<BegunState> {
    this.#post({ type: 'begin' });
    return this.#await('begun');
  }

  /** Evaluates what the next batch begins with. Gives the packed requests away. */
  evaluateAhead(requests: Uint8Array, createdAtMs: number): void {
    this.#post({ type: 'evaluateAhead', requests, createdAtMs }, [requests.buffer as ArrayBuffer]);
  }

  /** Evaluates a batch; the answer comes as `evaluated`. Gives the packed requests away. */
  evaluate(message: Omit<Extract<WriterRequest, { type: 'evaluate' }>, 'type'>): void {
    this.#post({ type: 'evaluate', ...message }, [message.requests.buffer as ArrayBuffer]);
  }

  /** Every chunk up to `sequence` is durable. */
  apply(sequence: number): void {
    this.#post({ type: 'apply', sequence });
  }

  /** Runs `work` while the writer does nothing of that; it evaluates writes meanwhile. One at a time of each. */
  async holding<T>(what: Held, work: () => Promise<T>): Promise<T> {
    const held = new Promise<void>((resolve) => this.#holders.push(resolve));
    this.#post({ type: 'hold', what });
    try {
      await held;
      return await work();
    } finally {
      this.#post({ type: 'resume', what });
    }
  }

  /** Copies the rest of SQLite's write-ahead log and cuts its files; answers whether that could be done. */
  truncateLog(): Promise<boolean> {
    this.#post({ type: 'truncateLog' });
    return new Promise((resolve) => this.#truncations.push(resolve));
  }

  /** Gives unused pages back to the disk; the end comes as `defragmented`. */
  defragment(): void {
    this.#post({ type: 'defragment' });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#post({ type: 'close' });
    await this.#exited;
  }

  /** Resolves when the thread has let go of the cache: after `close`, or after a failure. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  #post(request: WriterRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  async #await<T extends WriterReply['type']>(type: T): Promise<Extract<WriterReply, { type: T }>> {
    assert(this.#awaited === undefined, 'one recovery call at a time');
    const reply = await new Promise<WriterReply>((resolve, reject) => {
      this.#awaited = { type, resolve, reject };
    });
    return reply as Extract<WriterReply, { type: T }>;
  }

  #receive(reply: WriterReply): void {
    switch (reply.type) {
      case 'evaluated':
        return this.#events.evaluated(reply);
      case 'applied':
        if (this.#inTrouble) this.#setTrouble(undefined);
        return this.#events.applied(reply);
      case 'compacted':
        return this.#events.compacted(reply.revision);
      case 'defragmented':
        return this.#events.defragmented();
      case 'held':
        return this.#holders.shift()!();
      case 'logTruncated':
        return this.#truncations.shift()!(reply.truncated);
      case 'trouble':
        return this.#setTrouble(reply.message);
      case 'failed':
        return this.#fail(Object.assign(new Error(reply.message), { name: reply.name ?? 'Error' }));
      default: {
        const awaited = this.#awaited;
        this.#awaited = undefined;
        assert(awaited?.type === reply.type, `unexpected ${reply.type} from the writer`);
        awaited.resolve(reply);
      }
    }
  }

  #setTrouble(message: string | undefined): void {
    this.#inTrouble = message !== undefined;
    this.#events.diskTrouble(message);
  }

  #fail(error: Error): void {
    const awaited = this.#awaited;
    this.#awaited = undefined;
    if (awaited !== undefined) awaited.reject(error);
    else if (!this.#closed) this.#events.failed(error);
    this.#closed = true;
  }
}

function buffersOf(chunks: LoadedChunk[]): ArrayBuffer[] {
  const parts = chunks.flatMap(({ header, body, rows }) =>
    rows === undefined ? [header, body] : [rows.rows],
  );
  const buffers = new Set(parts.map(({ buffer }) => buffer as ArrayBuffer));
  return [...buffers].filter(({ byteLength }) => byteLength > 0);
}
