import type { Counter, Histogram } from '../shared/base/metering.ts';
import type {
  EvaluatedMessage,
  LogPosition,
  OperationCounts,
  WriterReply,
} from '../workers/contract/writer.ts';

/** Told of what becomes durable and of what is applied. */
export interface ApplyMeter {
  /** Bytes of chunks that became durable. */
  readonly walWriteBytes: Counter;
  /** Commits of SQLite, in seconds. */
  readonly backendCommitSeconds: Histogram;
}

/** What an engine has done since it began, and where its history stands; for metrics and the status page. */
export class EngineCounts {
  readonly operations: OperationCounts = { puts: 0, deletes: 0, ranges: 0, txns: 0, putBytes: 0 };
  /** Of the primary that this process saw first. */
  readonly firstEpoch: number;
  compactRevision: number;
  removedRows = 0;
  /** When the rows of a compaction were last gone, by the wall clock; 0 before. */
  lastCompactionMs = 0;
  readonly #meter: ApplyMeter | undefined;

  constructor(
    { epoch, compactRevision }: Pick<LogPosition, 'epoch' | 'compactRevision'>,
    meter: ApplyMeter | undefined,
  ) {
    this.firstEpoch = epoch;
    this.compactRevision = compactRevision;
    this.#meter = meter;
  }

  durable({ operations, compactRevision, object }: EvaluatedMessage): void {
    this.did(operations);
    this.compactRevision = compactRevision;
    this.#meter?.walWriteBytes.add(object.length);
  }

  did({ puts, deletes, ranges, txns, putBytes }: OperationCounts): void {
    const sum = this.operations;
    sum.puts += puts;
    sum.deletes += deletes;
    sum.ranges += ranges;
    sum.txns += txns;
    sum.putBytes += putBytes;
  }

  applied({ commitMs, removedRows }: Extract<WriterReply, { type: 'applied' }>): void {
    this.removedRows = removedRows;
    if (commitMs > 0) this.#meter?.backendCommitSeconds.observe(commitMs / 1000);
  }
}
