import { WatchHub, type WatchHubOptions } from '../../src/main/watch/hub.ts';
import type { WatchStream } from '../../src/main/watch/stream.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import type { WatchCreateRequest } from '../../src/shared/etcd/requests.ts';
import { ManualClock } from '../support/clock.ts';
import { HeldSink } from './held-sink.ts';
import type { Change } from './model-log.ts';
import { HeldReplays, ModelLog } from './model-log.ts';

/** A watch to create; what is left out is etcd's default. */
export type Ask = Partial<Omit<WatchCreateRequest, 'key' | 'rangeEnd'>> & { key: string; rangeEnd?: string };

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export function createRequest(ask: Ask): { kind: 'create'; create: WatchCreateRequest } {
  const { key, rangeEnd = '', ...given } = ask;
  const defaults = { startRevision: 0, progressNotify: false, filters: [], prevKv: false, watchId: 0 };
  const create = { ...defaults, fragment: false, ...given, key: bytesOf(key), rangeEnd: bytesOf(rangeEnd) };
  return { kind: 'create', create };
}

/** One client's stream: what it asks goes to the hub, what it gets is in the sink. */
export interface Client {
  sink: HeldSink;
  stream: WatchStream;
}

/** A hub on a model log, a replay source and a clock that move only when a test says so. */
export class World {
  readonly clock = new ManualClock();
  readonly log: ModelLog;
  readonly replays: HeldReplays;
  readonly hub: WatchHub;

  constructor(options: Partial<WatchHubOptions> = {}) {
    this.log = new ModelLog(options.currentRevision ?? 1);
    this.replays = new HeldReplays(this.log);
    this.hub = new WatchHub({
      source: this.replays,
      clock: this.clock,
      random: { fraction: () => 0.5, bytes: (length) => new Uint8Array(length) },
      log: silentLog,
      identity: { clusterId: 7n, memberId: 8n, raftTerm: () => 2 },
      currentRevision: 1,
      compactRevision: 0,
      ringBytesMax: 1 << 20,
      streamBufferBytesMax: 1 << 20,
      totalBufferBytesMax: 1 << 24,
      progressNotifyIntervalMs: 1000,
      fragmentBytesMax: 1 << 21,
      ...options,
    });
  }

  /** Opens a stream. */
  open(): Client {
    const sink = new HeldSink();
    return { sink, stream: this.hub.open(sink) };
  }

  /** Publishes one batch: each argument is one revision. */
  publish(...revisions: Change[][]): void {
    this.hub.publish(this.log.append(revisions));
  }

  /** Puts one key in a batch of its own. */
  put(key: string, value = 'v'): void {
    this.publish([{ key, value }]);
  }

  /** Applies everything up to `revision`. */
  apply(revision = this.log.revision): void {
    this.log.appliedRevision = Math.max(this.log.appliedRevision, revision);
    this.hub.appliedTo(this.log.appliedRevision);
  }

  /** Lets promise callbacks run. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
