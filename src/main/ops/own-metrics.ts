import type { SeriesMaker } from './series.ts';

/** What netsy's own gauges say at a scrape. Undefined is not known, and is not shown. */
export interface OwnReadings {
  readonly version: string;
  readonly etcdVersion: string;
  readonly leadership: 'leading' | 'lapsed' | 'standby';
  readonly epoch: number;
  readonly queue: { readonly requests: number; readonly bytes: number };
  readonly batchesInFlight: number;
  readonly oldestWriteMs: number;
  readonly writesRefused: number;
  readonly readsWaiting: number;
  /** Of clients that do not take their answers, or not yet. */
  readonly answers: { readonly bytes: number; readonly held: number };
  readonly watch: {
    readonly lagRevisions: number;
    readonly pendingBytes: number;
    readonly replays: number;
    readonly ringBytes: number;
  };
  readonly cacheBytes: {
    readonly total: number;
    readonly inUse: number;
    /** SQLite's write-ahead log. */
    readonly wal: number | undefined;
  };
  readonly storeFailing: boolean;
  readonly cacheDiskFailing: boolean;
  /** Only the primary knows. */
  readonly snapshots:
    | { readonly count: number; readonly oldestMs: number; readonly newestMs: number }
    | undefined;
  /** What the log has that the newest snapshot has not. */
  readonly sinceSnapshot: { readonly records: number; readonly bytes: number } | undefined;
}

/** When the files of TLS run out, by what they are, in Unix seconds. */
export type TlsExpiryReadings = Readonly<
  Partial<Record<'certificate' | 'authority' | 'revocation_list', number>>
>;

const LEADERSHIPS = ['leading', 'lapsed', 'standby'] as const;

/** The gauges under names of our own that are read when they are asked for. */
export class OwnMetrics {
  /** Renewed at each scrape. */
  readings: OwnReadings | undefined;
  /** Of the files in use; empty without TLS. */
  tlsExpiries: TlsExpiryReadings = {};
  readonly #make: SeriesMaker;

  constructor(make: SeriesMaker) {
    this.#make = make;
    this.#showServer();
    this.#showWrites();
    this.#showReads();
    this.#showStore();
    make.read(
      'gauge',
      'netsy_tls_expiry_timestamp_seconds',
      "When the TLS files in use run out: the server's certificate, the clients' authorities, their lists of revoked certificates.",
      () => Object.entries(this.tlsExpiries).map(([file, value]) => ({ labels: { file }, value })),
    );
  }

  #number(
    name: string,
    help: string,
    read: (now: OwnReadings) => number | undefined,
    type: 'gauge' | 'counter' = 'gauge',
  ): void {
    this.#labelled(name, help, (now) => [[{}, read(now)]], type);
  }

  #labelled(
    name: string,
    help: string,
    read: (now: OwnReadings) => readonly [Readonly<Record<string, string>>, number | undefined][],
    type: 'gauge' | 'counter' = 'gauge',
  ): void {
    this.#make.read(type, name, help, () => {
      const { readings } = this;
      if (readings === undefined) return [];
      return read(readings).flatMap(([labels, value]) => (value === undefined ? [] : [{ labels, value }]));
    });
  }

  #showServer(): void {
    this.#labelled('netsy_build_info', 'Which version is running.', ({ version, etcdVersion }) => [
      [{ version, etcd: etcdVersion, node: process.version }, 1],
    ]);
    this.#labelled(
      'netsy_leadership',
      'What this process may say of the store: it leads, its lease has lapsed, or it is a standby. 1 for what is so.',
      ({ leadership }) => LEADERSHIPS.map((state) => [{ state }, Number(state === leadership)]),
    );
    this.#number(
      'netsy_epoch',
      'The term of the primary, as far as this process has followed the log.',
      (now) => now.epoch,
    );
  }

  #showWrites(): void {
    this.#number('netsy_queue_requests', 'Writes that are not answered yet.', (now) => now.queue.requests);
    this.#number('netsy_queue_bytes', 'Bytes of writes that are not answered yet.', (now) => now.queue.bytes);
    this.#number(
      'netsy_batches_in_flight',
      'Batches that are closed and not answered yet.',
      (now) => now.batchesInFlight,
    );
    this.#number(
      'netsy_oldest_write_seconds',
      'How long the oldest write under way has waited.',
      (now) => now.oldestWriteMs / 1000,
    );
    this.#number(
      'netsy_writes_refused_total',
      'Writes that were refused because the queue was full.',
      (now) => now.writesRefused,
      'counter',
    );
  }

  #showReads(): void {
    this.#number(
      'netsy_reads_waiting',
      'Reads that wait for what was durable when they came, or for the lease.',
      (now) => now.readsWaiting,
    );
    this.#number(
      'netsy_answers_waiting_bytes',
      'Bytes of answers that their clients have not taken yet.',
      (now) => now.answers.bytes,
    );
    this.#number(
      'netsy_calls_held',
      'Calls that wait because their client has not taken what it asked for before.',
      (now) => now.answers.held,
    );
    this.#number(
      'netsy_watch_lag_revisions',
      'How many revisions the watcher that is furthest behind has still to see.',
      (now) => now.watch.lagRevisions,
    );
    this.#number(
      'netsy_watch_pending_bytes',
      'Bytes of events that are written to streams and have not left yet.',
      (now) => now.watch.pendingBytes,
    );
    this.#number(
      'netsy_watch_replays',
      'Replays of watches from the cache that are under way.',
      (now) => now.watch.replays,
    );
    this.#number(
      'netsy_watch_ring_bytes',
      'Bytes of recent events that are kept in memory for watchers that join.',
      (now) => now.watch.ringBytes,
    );
    this.#labelled(
      'netsy_cache_bytes',
      'Size of the SQLite cache: its database (total), the part of it that is used (in_use), and its write-ahead log (wal).',
      ({ cacheBytes: { total, inUse, wal } }) => [
        [{ part: 'total' }, total],
        [{ part: 'in_use' }, inUse],
        [{ part: 'wal' }, wal],
      ],
    );
  }

  #showStore(): void {
    this.#number(
      'netsy_store_failing',
      '1 while the store fails: uploads, renewals of the lease, or what a standby reads.',
      (now) => Number(now.storeFailing),
    );
    this.#number('netsy_cache_disk_failing', '1 while the disk under the cache refuses writes.', (now) =>
      Number(now.cacheDiskFailing),
    );
    this.#number(
      'netsy_restore_points',
      'Snapshots that the log can be restored from; known to the primary alone.',
      (now) => now.snapshots?.count,
    );
    const seconds = (ms: number | undefined): number | undefined =>
      ms === undefined || ms === 0 ? undefined : ms / 1000;
    this.#number('netsy_snapshot_newest_timestamp_seconds', 'When the newest snapshot was written.', (now) =>
      seconds(now.snapshots?.newestMs),
    );
    this.#number(
      'netsy_snapshot_oldest_timestamp_seconds',
      'When the oldest snapshot that is kept was written.',
      (now) => seconds(now.snapshots?.oldestMs),
    );
    this.#number(
      'netsy_log_records_since_snapshot',
      'Records that the log has and the newest snapshot has not.',
      (now) => now.sinceSnapshot?.records,
    );
    this.#number(
      'netsy_log_bytes_since_snapshot',
      'Bytes of chunks that the log has and the newest snapshot has not.',
      (now) => now.sinceSnapshot?.bytes,
    );
  }
}
