import assert from 'node:assert/strict';
import { KV, type WatchResponse } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Event, Event_EventType } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { ALL_KEYS, type Client } from './client.ts';

/** One change as a watcher with prev_kv sees it. */
export interface Change {
  readonly key: string;
  readonly deleted: boolean;
  readonly value: string;
  readonly createRevision: number;
  readonly version: number;
  /** mod_revision of prev_kv; 0 without one. */
  readonly previousRevision: number;
  readonly previousValue: string;
}

/** All changes of one revision, in order. */
export interface Revision {
  readonly revision: number;
  readonly changes: readonly Change[];
}

/** The revisions of one watcher's responses. Throws when one is split, repeated, missing or out of order. */
export class RevisionReader {
  readonly revisions: Revision[] = [];
  readonly #whole: boolean;
  #last: number;

  /** `last`: the revision before the first that may come. `whole`: no revision may be missing. */
  constructor(last: number, whole = true) {
    this.#last = last;
    this.#whole = whole;
  }

  get last(): number {
    return this.#last;
  }

  take(response: WatchResponse): void {
    assert.equal(response.fragment, false, 'nobody asked for fragments');
    this.takeChanges(response.events.map((event) => [Number(event.kv!.modRevision), changeOf(event)]));
  }

  /** Takes one response as changes with their revisions. */
  takeChanges(changes: readonly (readonly [revision: number, change: Change])[]): void {
    const before = this.#last;
    for (const [revision, change] of changes) this.#add(revision, change, before);
  }

  #add(revision: number, change: Change, lastOfOtherResponses: number): void {
    assert.ok(revision > lastOfOtherResponses, `revision ${revision} came again, or in two responses`);
    if (revision !== this.#last) {
      const next = this.#last + 1;
      if (this.#whole) assert.equal(revision, next, `revision ${revision} came after ${this.#last}`);
      this.revisions.push({ revision, changes: [] });
      this.#last = revision;
    }
    (this.revisions[this.revisions.length - 1]!.changes as Change[]).push(change);
  }
}

function changeOf({ type, kv, prevKv }: Event): Change {
  return {
    key: Buffer.from(kv!.key).toString(),
    deleted: type === Event_EventType.DELETE,
    value: Buffer.from(kv!.value).toString(),
    createRevision: Number(kv!.createRevision),
    version: Number(kv!.version),
    previousRevision: Number(prevKv?.modRevision ?? 0n),
    previousValue: Buffer.from(prevKv?.value ?? []).toString(),
  };
}

/** Everything that ever happened, by a watch from the first revision up to the newest. */
export async function readHistory(client: Client): Promise<Revision[]> {
  const newest = await client.revision();
  const reader = new RevisionReader(1);
  const stream = client.watch();
  const request = { ...ALL_KEYS, startRevision: 1n, prevKv: true };
  stream.send({ requestUnion: { case: 'createRequest', value: request } });
  while (reader.last < newest) {
    const response = await stream.next();
    assert.equal(response.canceled, false, response.cancelReason);
    reader.take(response);
  }
  stream.cancel();
  return reader.revisions;
}

/** The living keys as a list shows them: `revision create version value`. */
export async function readKeys(client: Client, serializable = false): Promise<Map<string, string>> {
  const { kvs } = await client.call(KV.method.range, { ...ALL_KEYS, serializable });
  return new Map(
    kvs.map((kv) => [
      Buffer.from(kv.key).toString(),
      `${kv.modRevision} ${kv.createRevision} ${kv.version} ${Buffer.from(kv.value).toString()}`,
    ]),
  );
}
