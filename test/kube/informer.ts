import { systemClock } from '../../src/shared/base/clock.ts';
import { type ApiClient, type KubeObject, versionOf, type WatchEvent } from './api-client.ts';
import { contentOf } from './objects.ts';

const BACKOFF_MS = 200;
/** Controllers ask for minutes; less makes it go on from its last version more often, also across kills. */
const WATCH_SECONDS = 4;

/** The watch must be started anew from a list: its version is too old, or the API server can't go on. */
class RelistNeeded extends Error {}

/** One version of one object, as the informer was told of it. */
export interface Seen {
  readonly name: string;
  readonly version: bigint;
  readonly content: string | undefined;
  readonly how: string;
}

/**
 * What a controller keeps: a list, then watches from its version, re-opened from the last version seen when
 * one ends, and a new list when the API server says that this version is gone.
 */
export class Informer {
  /** The versions of the objects that exist, as far as the informer knows. */
  readonly known = new Map<string, bigint>();
  /** All that it was ever shown. */
  readonly seen: Seen[] = [];
  lists = 0;
  watches = 0;
  /** Broken rules: what it was shown that no client may be shown. */
  readonly violations: string[] = [];

  readonly #client: ApiClient;
  readonly #path: string;
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(client: ApiClient, path: string) {
    this.#client = client;
    this.#path = path;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let version: bigint | undefined;
    while (!signal.aborted) {
      try {
        version ??= await this.#list();
        version = await this.#watch(version);
      } catch (error) {
        if (error instanceof RelistNeeded) version = undefined;
        await systemClock.sleep(BACKOFF_MS, signal);
      }
    }
  }

  async #list(): Promise<bigint> {
    const list = await this.#client.expect('GET', this.#path);
    this.lists += 1;
    this.known.clear();
    for (const item of list.items ?? []) this.#keep(item, 'list');
    return versionOf(list);
  }

  /** Follows one watch to its end; returns the version to go on from. */
  async #watch(from: bigint): Promise<bigint> {
    const query = { resourceVersion: String(from), allowWatchBookmarks: true, timeoutSeconds: WATCH_SECONDS };
    let last = from;
    try {
      const events = await this.#client.watch(this.#path, query, this.#abort.signal);
      this.watches += 1;
      for await (const event of events) last = this.#take(event, last);
    } catch (error) {
      // A refused or broken watch says nothing of the version, except these.
      if (error instanceof RelistNeeded || /\b(410|504)\b/.test(String(error))) throw new RelistNeeded();
      await systemClock.sleep(BACKOFF_MS, this.#abort.signal);
    }
    return last;
  }

  #take(event: WatchEvent, last: bigint): bigint {
    if (event.type === 'ERROR') throw new RelistNeeded(event.object.message);
    const version = versionOf(event.object);
    if (event.type === 'BOOKMARK') {
      if (version < last) this.violations.push(`a bookmark went from version ${last} to ${version}`);
      return version;
    }
    if (version <= last) this.violations.push(`a watch went from version ${last} to ${version}`);
    const name = event.object.metadata.name!;
    if (event.type === 'DELETED') {
      if (!this.known.delete(name)) this.violations.push(`${name} was deleted, but was not known`);
    } else {
      if (this.known.has(name) !== (event.type === 'MODIFIED')) {
        this.violations.push(`${name} ${event.type} at ${version}, known was ${this.known.get(name)}`);
      }
      this.#keep(event.object, event.type);
    }
    return version;
  }

  #keep(object: KubeObject, how: string): void {
    const name = object.metadata.name!;
    const version = versionOf(object);
    this.known.set(name, version);
    this.seen.push({ name, version, content: contentOf(object), how });
  }
}
