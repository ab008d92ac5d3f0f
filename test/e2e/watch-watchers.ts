import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { WatchResponse } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { ALL_KEYS, type Client, type WatchStream } from '../crash/client.ts';
import { type Change, RevisionReader } from '../crash/history.ts';

const PROGRESS_ID = -1n;

export interface WatcherOptions {
  /** By default every key. */
  readonly range?: { readonly key: Buffer; readonly rangeEnd: Buffer };
  readonly prevKv?: boolean;
}

/** A watcher over a gRPC stream that checks order, wholeness and progress as it reads. */
export class Watcher {
  readonly reader: RevisionReader;
  /** Answers to RequestProgress. */
  progressAnswers = 0;
  /** Resolves when the stream ends, with why: etcd's cancel reason, or the stream's failure. */
  readonly ended: Promise<string>;
  readonly stream: WatchStream;
  /** Of a watch that the server canceled. */
  compactRevision = 0;
  readonly #everyRevision: boolean;

  /** Watches from `startRevision` on. */
  constructor(client: Client, startRevision: number, options: WatcherOptions = {}) {
    const { range, prevKv = true } = options;
    this.#everyRevision = range === undefined;
    this.reader = new RevisionReader(startRevision - 1, this.#everyRevision);
    this.stream = client.watch();
    const value = { ...(range ?? ALL_KEYS), startRevision: BigInt(startRevision), prevKv };
    this.stream.send({ requestUnion: { case: 'createRequest', value } });
    this.ended = this.#read();
  }

  requestProgress(): void {
    this.stream.send({ requestUnion: { case: 'progressRequest', value: {} } });
  }

  /** Waits until every revision up to `revision` has come. Rejects when the stream ends before. */
  async reaches(revision: number): Promise<void> {
    let ended: string | undefined;
    void this.ended.then((why) => {
      ended = why;
    });
    while (this.reader.last < revision) {
      assert.equal(ended, undefined, `the watcher ended at revision ${this.reader.last} of ${revision}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #read(): Promise<string> {
    for (;;) {
      let response: WatchResponse;
      try {
        response = await this.stream.next();
      } catch (error) {
        return (error as Error).message;
      }
      if (response.canceled) {
        this.compactRevision = Number(response.compactRevision);
        return response.cancelReason;
      }
      try {
        this.#take(response);
      } catch (error) {
        this.stream.cancel();
        return (error as Error).message;
      }
    }
  }

  #take(response: WatchResponse): void {
    const revision = Number(response.header!.revision);
    if (response.watchId === PROGRESS_ID) {
      this.progressAnswers++;
      // Whoever watches every key has seen exactly what progress says.
      if (this.#everyRevision) {
        assert.equal(this.reader.last, revision, `progress says ${revision} before its events came`);
      }
      return;
    }
    this.reader.take(response);
    if (response.events.length > 0) {
      assert.ok(this.reader.last <= revision, `a header of revision ${revision} with a later event`);
    }
  }
}

interface JsonKeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision?: number;
  readonly mod_revision: number;
  readonly version?: number;
}

interface JsonEvent {
  readonly type?: number;
  readonly kv: JsonKeyValue;
  readonly prev_kv?: JsonKeyValue;
}

/** `etcdctl watch` over every key from `startRevision` on; resolves to what it printed up to `lastRevision`. */
export async function etcdctlWatch(
  authority: string,
  startRevision: number,
  lastRevision: number,
): Promise<RevisionReader> {
  const child = spawn(
    'etcdctl',
    [
      ...['--endpoints', authority, '--write-out', 'json'],
      ...['watch', '', '--prefix', '--prev-kv', '--rev', String(startRevision)],
    ],
    { env: { ...process.env, ETCDCTL_API: '3' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const reader = new RevisionReader(startRevision - 1);
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const { Events: events } = JSON.parse(line) as { Events: readonly JsonEvent[] };
      reader.takeChanges(events.map((event) => [event.kv.mod_revision, jsonChange(event)]));
      if (reader.last >= lastRevision) break;
    }
  } finally {
    const ended = once(child, 'exit');
    if (child.exitCode === null) {
      child.kill('SIGKILL');
      await ended;
    }
  }
  return reader;
}

function jsonChange({ type, kv, prev_kv: previous }: JsonEvent): Change {
  return {
    key: text(kv.key),
    deleted: type === 1,
    value: text(kv.value),
    createRevision: kv.create_revision ?? 0,
    version: kv.version ?? 0,
    previousRevision: previous?.mod_revision ?? 0,
    previousValue: text(previous?.value),
  };
}

function text(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString();
}
