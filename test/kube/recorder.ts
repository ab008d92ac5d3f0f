import type { ApiClient, Query, WatchEvent } from './api-client.ts';
import { versionOf } from './api-client.ts';
import { eventually } from './parallel.ts';

/** One event as a watch delivered it. */
export interface SeenEvent extends WatchEvent {
  readonly version: bigint;
}

/** A single raw watch that keeps all that it sees, and requires that versions only grow. */
export class WatchRecorder {
  readonly events: SeenEvent[] = [];
  readonly #abort = new AbortController();
  #failure: Error | undefined;
  #reading: Promise<void> = Promise.resolve();

  /** Starts a watch just after `fromVersion`. Resolves when it is accepted. */
  static async open(
    client: ApiClient,
    path: string,
    fromVersion: bigint,
    query: Query = {},
  ): Promise<WatchRecorder> {
    const recorder = new WatchRecorder();
    const wanted = { resourceVersion: String(fromVersion), timeoutSeconds: 3600, ...query };
    const events = await client.watch(path, wanted, recorder.#abort.signal);
    recorder.#reading = recorder.#read(events, fromVersion);
    return recorder;
  }

  /** Waits until an event that satisfies `last` has come. Rejects when the watch ends or errs before. */
  async until(
    what: string,
    deadlineMs: number,
    last: (event: SeenEvent) => boolean,
  ): Promise<readonly SeenEvent[]> {
    await this.untilAll(what, deadlineMs, () => this.events.some(last));
    return this.events;
  }

  /** Waits until `complete` says so. Rejects when the watch ends or errs before. */
  async untilAll(what: string, deadlineMs: number, complete: () => boolean): Promise<void> {
    await eventually(
      () => `the watch did not see ${what}; it saw ${this.events.length} events`,
      deadlineMs,
      async () => {
        if (this.#failure !== undefined) throw this.#failure;
        return complete() ? true : undefined;
      },
      20,
    );
  }

  /** Ends the watch. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }

  async #read(events: AsyncGenerator<WatchEvent>, fromVersion: bigint): Promise<void> {
    let last = fromVersion;
    try {
      for await (const event of events) {
        if (event.type === 'ERROR')
          throw new Error(`the watch errs: ${event.object.code} ${event.object.message}`);
        const version = versionOf(event.object);
        if (version <= last) throw new Error(`the watch went from version ${last} to ${version}`);
        last = version;
        this.events.push({ ...event, version });
      }
      if (!this.#abort.signal.aborted) throw new Error('the API server ended the watch');
    } catch (error) {
      this.#failure = error as Error;
    }
  }
}
