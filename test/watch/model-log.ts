import type { PublishedBatch, WatchEvent } from '../../src/main/watch/events.ts';
import type { ReplayRequest, ReplayResult, ReplaySource } from '../../src/main/watch/replay.ts';
import { keyValueBytes } from '../../src/shared/etcd/responses.ts';
import { EventWriter, readEvents } from '../../src/workers/contract/events.ts';

/** One change in the model: a put of `value`, or a delete. */
export interface Change {
  key: string;
  value: string | undefined;
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

/** Whether etcd's key and range_end cover the key; written apart from the code under test. */
export function covers(key: Uint8Array, rangeEnd: Uint8Array, candidate: Uint8Array): boolean {
  const order = Buffer.compare(candidate, key);
  if (rangeEnd.length === 0) return order === 0;
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return order >= 0;
  return order >= 0 && Buffer.compare(candidate, rangeEnd) < 0;
}

/** The events of one change, encoded as the server encodes them. */
export function makeEvent(revision: number, sub: number, change: Change, previous?: string): WatchEvent {
  const key = bytesOf(change.key);
  const none = { createRevision: 0, version: 0, lease: 0n, value: new Uint8Array(0) };
  const put = { ...none, createRevision: 1, version: 1, value: bytesOf(change.value ?? '') };
  const isDelete = change.value === undefined;
  const kv = keyValueBytes({ ...(isDelete ? none : put), key, modRevision: revision });
  const prevKv =
    previous === undefined
      ? undefined
      : keyValueBytes({ ...none, key, modRevision: revision - 1, value: bytesOf(previous) });
  const packed = new EventWriter();
  packed.add({ revision, sub, key, deleted: isDelete }, kv, prevKv);
  return readEvents(packed.finish())[0]!;
}

/** Everything that was ever published, and what the replay source and a perfect watcher would see of it. */
export class ModelLog {
  readonly events: WatchEvent[] = [];
  revision: number;
  appliedRevision: number;
  compactRevision = 0;
  readonly #values = new Map<string, string>();

  constructor(revision = 1) {
    this.revision = revision;
    this.appliedRevision = revision;
  }

  /** Adds one batch: each inner array is one revision's changes. */
  append(revisions: readonly (readonly Change[])[]): PublishedBatch {
    const events: WatchEvent[] = [];
    for (const changes of revisions) {
      this.revision += 1;
      for (const [sub, change] of changes.entries())
        events.push(makeEvent(this.revision, sub, change, this.#values.get(change.key)));
      for (const { key, value } of changes)
        if (value === undefined) this.#values.delete(key);
        else this.#values.set(key, value);
    }
    this.events.push(...events);
    return { lastRevision: this.revision, events };
  }

  /** What a reader answers from a snapshot at `snapshotRevision`. */
  replay(request: ReplayRequest, snapshotRevision: number): ReplayResult {
    const { key, rangeEnd, fromRevision, maxBytes } = request;
    if (fromRevision < this.compactRevision)
      return { kind: 'compacted', compactRevision: this.compactRevision };
    const found: WatchEvent[] = [];
    let bytes = 0;
    for (const event of this.events) {
      if (event.revision < fromRevision || event.revision > snapshotRevision) continue;
      if (!covers(key, rangeEnd, event.key)) continue;
      const last = found.at(-1);
      if (last !== undefined && last.revision !== event.revision && bytes >= maxBytes)
        return { kind: 'events', events: found, coveredRevision: last.revision };
      found.push(event);
      bytes += event.bytes.length;
    }
    return { kind: 'events', events: found, coveredRevision: snapshotRevision };
  }
}

interface Held {
  request: ReplayRequest;
  resolve(result: ReplayResult): void;
  reject(error: Error): void;
}

/** A replay source whose answers a test gives when it likes, from a snapshot of its choice. */
export class HeldReplays implements ReplaySource {
  readonly held: Held[] = [];
  readonly log: ModelLog;
  /** The most that was ever under way at once. */
  most = 0;

  constructor(log: ModelLog) {
    this.log = log;
  }

  replay(request: ReplayRequest): Promise<ReplayResult> {
    return new Promise((resolve, reject) => {
      this.held.push({ request, resolve, reject });
      this.most = Math.max(this.most, this.held.length);
    });
  }

  /** Answers one held replay from a snapshot `ahead` revisions past what is applied; false if none is held. */
  answer(index = 0, ahead = 0): boolean {
    const [held] = this.held.splice(index, 1);
    if (held === undefined) return false;
    const snapshot = Math.min(this.log.revision, this.log.appliedRevision + ahead);
    held.resolve(this.log.replay(held.request, snapshot));
    return true;
  }

  /** Fails one held replay. */
  fail(): void {
    this.held.shift()?.reject(new Error('reader stopped'));
  }
}
