import { systemClock } from '../../src/shared/base/clock.ts';
import type { Seeded } from '../support/seeded.ts';
import { type ApiClient, type ApiResponse, describe, versionOf } from './api-client.ts';
import { ABSENT, Entry, type State, stateOf } from './ledger.ts';
import { configMap, configMapPath } from './objects.ts';

/** The API server gives up a write after this; its outcome is unknown then. */
const MUTATION_TIMEOUT = { timeout: '10s' };
const OBJECTS_AT_ONCE = 20;
const BACKOFF_MS = 100;

/** What all writers of a crash scenario come to. */
export interface WriterTotals {
  acknowledged: number;
  unknown: number;
  /** Monotonic milliseconds at which the newest acknowledged write was sent. */
  newestSentMs: number;
  /** Name and contents by the version that an answer gave them. */
  readonly byVersion: Map<bigint, { name: string; content: string }>;
}

/** What all writers of a crash scenario share. */
export interface WriterSetting {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly totals: WriterTotals;
  /** Ends the writers, each after its request under way. */
  readonly signal: AbortSignal;
}

/** One client that creates, updates and deletes its own ConfigMaps, one request at a time, until told to stop. */
export class Writer {
  /** Every object it ever tried to create. */
  readonly entries: Entry[] = [];
  readonly #live: Entry[] = [];
  readonly #setting: WriterSetting;
  readonly #prefix: string;
  readonly #seeded: Seeded;
  #writes = 0;

  /** Its objects' names begin with `prefix`, which no other writer may have. */
  constructor(setting: WriterSetting, prefix: string, seeded: Seeded) {
    this.#setting = setting;
    this.#prefix = prefix;
    this.#seeded = seeded;
  }

  /** Writes until the signal is aborted. Rejects when an answer contradicts an earlier one. */
  async run(): Promise<void> {
    while (!this.#setting.signal.aborted) {
      const draw = this.#seeded.fraction();
      if (this.#live.length < 2 || (draw < 0.3 && this.#live.length < OBJECTS_AT_ONCE)) await this.#create();
      else if (draw < 0.85) await this.#update(this.#seeded.pick(this.#live));
      else await this.#delete(this.#seeded.pick(this.#live));
    }
  }

  async #create(): Promise<void> {
    const entry = new Entry(`${this.#prefix}-${this.entries.length}`);
    this.entries.push(entry);
    this.#live.push(entry);
    const content = this.#nextContent();
    const body = configMap(entry.name, content);
    await this.#write(
      entry,
      { present: true, content },
      'POST',
      configMapPath(this.#setting.namespace),
      body,
    );
    // A create whose fate is unknown may still happen after a read that says it did not, so its name is left alone.
    if (!entry.known.present) this.#forget(entry);
  }

  async #update(entry: Entry): Promise<void> {
    const content = this.#nextContent();
    const body = configMap(entry.name, content, versionIn(entry));
    await this.#write(
      entry,
      { present: true, content },
      'PUT',
      configMapPath(this.#setting.namespace, entry.name),
      body,
    );
    if (!entry.known.present) this.#forget(entry);
  }

  async #delete(entry: Entry): Promise<void> {
    const preconditions = { resourceVersion: String(versionIn(entry)) };
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
    await this.#write(entry, ABSENT, 'DELETE', configMapPath(this.#setting.namespace, entry.name), body);
    if (!entry.known.present) this.#forget(entry);
  }

  /** Sends one write and enters in the ledger what its answer, or the want of one, means. */
  async #write(entry: Entry, target: State, method: string, path: string, body: object): Promise<void> {
    const sentMs = systemClock.monotonicMs();
    const response = await this.#setting.client
      .send(method, path, body, MUTATION_TIMEOUT)
      .catch(() => undefined);
    if (response !== undefined && response.status < 300) {
      this.#acknowledge(entry, target, response, sentMs);
      return;
    }
    const refused = response !== undefined && (response.status === 409 || response.status === 404);
    if (refused && entry.possible.length === 0) {
      throw new Error(`${method} ${entry.name} at ${String(versionOrNone(entry))}: ${describe(response)}`);
    }
    if (!refused) {
      if (response !== undefined && response.status < 429) throw new Error(describe(response));
      this.#setting.totals.unknown += 1;
      entry.possible.push(target);
    }
    await this.#read(entry);
  }

  #acknowledge(entry: Entry, target: State, response: ApiResponse, sentMs: number): void {
    this.#setting.totals.acknowledged += 1;
    this.#setting.totals.newestSentMs = Math.max(this.#setting.totals.newestSentMs, sentMs);
    if (!target.present) {
      entry.acknowledge(ABSENT);
      return;
    }
    const version = versionOf(response.body);
    const before = versionOrNone(entry);
    if (before !== undefined && version <= before) {
      throw new Error(`${entry.name} went from version ${before} to ${version}`);
    }
    const other = this.#setting.totals.byVersion.get(version);
    if (other !== undefined) throw new Error(`${entry.name} and ${other.name} both got version ${version}`);
    this.#setting.totals.byVersion.set(version, { name: entry.name, content: target.content });
    entry.acknowledge({ ...target, version });
  }

  /** Reads the object until an answer comes or the writer must end. A read without a version goes to our server, past the cache. */
  async #read(entry: Entry): Promise<void> {
    while (!this.#setting.signal.aborted) {
      const response = await this.#setting.client
        .send('GET', configMapPath(this.#setting.namespace, entry.name))
        .catch(() => undefined);
      if (response?.status === 200) return entry.observe(stateOf(response.body));
      if (response?.status === 404) return entry.observe(ABSENT);
      await systemClock.sleep(BACKOFF_MS, this.#setting.signal);
    }
  }

  #forget(entry: Entry): void {
    this.#live.splice(this.#live.indexOf(entry), 1);
  }

  #nextContent(): string {
    this.#writes += 1;
    return `${this.#prefix}.${this.#writes}.${this.#seeded.text(600)}`;
  }
}

function versionOrNone(entry: Entry): bigint | undefined {
  return entry.known.present ? entry.known.version : undefined;
}

function versionIn(entry: Entry): bigint {
  const version = versionOrNone(entry);
  if (version === undefined) throw new Error(`${entry.name} has no version to write on`);
  return version;
}
