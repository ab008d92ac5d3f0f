import { copyFileSync, existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { PrimaryLease } from '../../src/main/cluster/primary-lease.ts';
import { CommitPipeline } from '../../src/main/commit/pipeline.ts';
import { ReadGate } from '../../src/main/commit/read-gate.ts';
import { Lessor } from '../../src/main/lease/lessor.ts';
import { Recovery } from '../../src/main/recovery/recover.ts';
import { Appender } from '../../src/main/store/append.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { RecentBatches } from '../../src/main/watch/ring.ts';
import { int64Bytes, NO_BYTES } from '../../src/shared/base/bytes.ts';
import { chunkKey, parseChunkKey, parseSnapshotKey } from '../../src/shared/format/names.ts';
import type { LoadedChunk } from '../../src/workers/contract/writer.ts';
import { Applier } from '../../src/workers/sqlite/apply.ts';
import { OverlayView } from '../../src/workers/sqlite/overlay.ts';
import { chunkCrc } from './log-model.ts';
import type { Tampering } from './workers.ts';
import type { World } from './world.ts';

/**
 * The product, broken on purpose in one place, to see that the simulation finds it. What is injected is wrapped or
 * replaced, messages on their way are changed, or a method of a class is exchanged while the simulation runs.
 */
export interface Variant {
  readonly name: string;
  /** What is broken. */
  readonly breaks: string;
  readonly appender?: typeof Appender;
  store?(store: ObjectStore): ObjectStore;
  tampering?(world: World): Tampering;
  /** Exchanges methods; answers what takes that back. */
  install?(): () => void;
}

const HOURS_MS = 3 * 3_600_000;

/** Exchanges a method of a class for one that is made from it. */
function exchange<C extends object, M extends keyof C>(
  prototype: C,
  method: M,
  make: (original: C[M]) => C[M],
): () => void {
  const original = prototype[method];
  prototype[method] = make(original);
  return () => {
    prototype[method] = original;
  };
}

class HastyAppender extends Appender {
  override async append(...append: Parameters<Appender['append']>): Promise<'durable' | 'lost'> {
    super.append(...append).catch(() => undefined);
    return 'durable';
  }
}

class FearlessAppender extends Appender {
  override async append(...append: Parameters<Appender['append']>): Promise<'durable' | 'lost'> {
    await super.append(...append);
    return 'durable';
  }
}

class LeaselessAppender extends Appender {
  constructor(store: ObjectStore, options: ConstructorParameters<typeof Appender>[1]) {
    super(store, { ...options, isPrimary: () => true });
  }
}

export const VARIANTS: readonly Variant[] = [
  {
    name: 'ack-before-durable',
    breaks: 'a write is acknowledged when its upload begins',
    appender: HastyAppender,
  },
  {
    name: 'skip-the-fence',
    breaks: "an append that finds another writer's chunk under its name counts as durable",
    appender: FearlessAppender,
  },
  {
    name: 'append-without-lease',
    breaks: 'a process that slept uploads what it had evaluated before, without asking for its lease',
    appender: LeaselessAppender,
  },
  {
    name: 'exists-is-created',
    breaks:
      'a conditional create that finds the name taken counts as its own, without reading the object back',
    store: (store) => ({
      ...store,
      putIfAbsent: async (key, body, signal) => {
        const answer = await store.putIfAbsent(key, body, signal);
        return parseChunkKey(key) === undefined ? answer : 'created';
      },
    }),
  },
  {
    name: 'apply-out-of-order',
    breaks: 'chunks that are applied together are applied from the last to the first',
    install: () =>
      exchange(Applier.prototype, 'apply', (apply) => {
        return function (this: Applier, chunks): void {
          apply.call(this, chunks.toReversed());
        };
      }),
  },
  {
    name: 'drop-the-overlay',
    breaks: 'a batch is evaluated without what is evaluated and not yet applied',
    install: () => {
      const undo = [
        exchange(OverlayView.prototype, 'add', () => {
          return function (this: OverlayView, { record }): void {
            this.revision = record.revision;
          };
        }),
        exchange(OverlayView.prototype, 'remove', () => () => undefined),
        exchange(OverlayView.prototype, 'undo', () => {
          return function (this: OverlayView, [first]): void {
            if (first !== undefined) this.revision = first.record.revision - 1;
          };
        }),
      ];
      return () => undo.forEach((one) => void one());
    },
  },
  {
    name: 'ignore-skip-to',
    breaks: 'who reads the log goes on after an epoch chunk with the next sequence',
    tampering: () => ({
      fromTask: (task, result) =>
        task.type === 'open' ? { ...(result as LoadedChunk), skipTo: undefined } : result,
    }),
  },
  {
    name: 'delete-one-too-many',
    breaks: 'retention deletes one chunk more than it may',
    store: (store) => ({
      ...store,
      delete: async (key, signal) => {
        const sequence = parseChunkKey(key);
        await store.delete(key, signal);
        if (sequence !== undefined) await store.delete(chunkKey(sequence + 1), signal);
      },
    }),
  },
  {
    name: 'delete-young',
    breaks: 'objects seem three hours older than they are, so that young ones are deleted',
    store: (store) => ({
      ...store,
      async *list(prefix, startAfter) {
        const listed = [];
        for await (const object of store.list(prefix, startAfter)) listed.push(object);
        const newest = listed[listed.length - 1];
        for (const object of listed) {
          const stays = object === newest && parseSnapshotKey(object.key) !== undefined;
          yield stays ? object : { ...object, modifiedMs: object.modifiedMs - HOURS_MS };
        }
      },
    }),
  },
  {
    name: 'lease-for-ever',
    breaks: 'a primary believes that it has its lease until it is told otherwise: reads under a lapsed lease',
    install: () => {
      const holders = new WeakSet<PrimaryLease>();
      return exchange(PrimaryLease.prototype, 'held', (held) => {
        return function (this: PrimaryLease): boolean {
          if (held.call(this)) holders.add(this);
          return holders.has(this);
        };
      });
    },
  },
  {
    name: 'reads-without-lease',
    breaks:
      'what passes the gate for leaders (keep-alives, transactions that wrote nothing) passes without a lease',
    install: () =>
      exchange(ReadGate.prototype, 'lead', () => {
        return (go): void => go(undefined);
      }),
  },
  {
    name: 'reads-before-applied',
    breaks: 'a read does not wait until SQLite has what was durable when it arrived',
    install: () =>
      exchange(ReadGate.prototype, 'durableTo', (durableTo) => {
        return function (this: ReadGate, sequence): void {
          durableTo.call(this, sequence);
          this.appliedTo(sequence);
        };
      }),
  },
  {
    name: 'no-catch-up',
    breaks: 'who takes over claims the log from where it stands, without following it to its end',
    install: () =>
      exchange(Recovery.prototype, 'follow', (follow) => {
        const calls = new WeakMap<Recovery, number>();
        return async function (this: Recovery, from) {
          const before = calls.get(this) ?? 0;
          calls.set(this, before + 1);
          if (before === 0 || from.epoch === 0) return follow.call(this, from);
          return { ...from, nextSequence: from.nextSequence + before - 1 };
        };
      }),
  },
  {
    name: 'hub-gap',
    breaks: 'a watcher that joins the live events misses the last one before them',
    install: () =>
      exchange(RecentBatches.prototype, 'collect', (collect) => {
        return function (this: RecentBatches, ...what) {
          const scan = collect.apply(this, what);
          return scan.complete ? { ...scan, events: scan.events.slice(0, -1) } : scan;
        };
      }),
  },
  {
    name: 'trust-the-cache',
    breaks: "a cache is kept without comparing its chunk's CRC with the store's",
    tampering: (world) => ({
      fromWriter: (reply) => {
        if (reply.type !== 'opened') return [reply];
        const stored = world.chunks.get(reply.position.sequence);
        const crc = stored && chunkCrc(stored.body);
        return [{ ...reply, position: { ...reply.position, chunkCrc: crc ?? reply.position.chunkCrc } }];
      },
    }),
  },
  {
    name: 'write-again',
    breaks: 'a write that timed out is taken for failed, and written again',
    install: () =>
      exchange(CommitPipeline.prototype, 'submit', (submit) => {
        return function (this: CommitPipeline, kind, request, callback) {
          return submit.call(this, kind, request, (error, response) => {
            if (error === undefined || !/timed out/.test(error.message)) callback(error, response);
            else submit.call(this, kind, request, callback);
          });
        };
      }),
  },
  {
    name: 'snapshot-too-early',
    breaks: 'a snapshot says that it holds the chunk after the last one that is applied',
    tampering: (world) => ({
      snapshotFile: (file) => {
        const copy = `${file}-early`;
        for (const suffix of ['', '-wal']) {
          if (existsSync(file + suffix)) copyFileSync(file + suffix, copy + suffix);
        }
        const connection = new Database(copy);
        const sequence = connection.prepare('SELECT sequence FROM log_position').pluck().get() as number;
        const next = world.chunks.get(sequence + 1);
        const crc = next && chunkCrc(next.body);
        if (crc !== undefined) {
          connection
            .prepare(
              'UPDATE log_position SET sequence = sequence + 1, next_sequence = sequence + 2, chunk_crc = ?',
            )
            .run(int64Bytes(crc));
        }
        connection.close();
        return copy;
      },
    }),
  },
  {
    name: 'no-ttl-after-takeover',
    breaks: 'who takes over does not give every lease its full TTL again',
    install: () => exchange(Lessor.prototype, 'promote', () => () => undefined),
  },
  {
    name: 'forget-leases',
    breaks: 'leases are not in snapshots: a cache filled from one has none',
    tampering: () => ({
      toWriter: (request) =>
        request.type === 'fill' ? [{ ...request, piece: { ...request.piece, leases: [] } }] : [request],
    }),
  },
  {
    name: 'lose-events',
    breaks: 'a standby that follows the log does not tell its watchers',
    tampering: () => ({
      fromWriter: (reply) => [reply.type === 'followed' ? { ...reply, events: NO_BYTES } : reply],
    }),
  },
];
