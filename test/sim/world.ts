import type { ObjectInfo } from '../../src/main/store/store.ts';
import type { Log } from '../../src/shared/base/log.ts';
import { parseChunkKey } from '../../src/shared/format/names.ts';
import type { History } from './history.ts';
import type { Life } from './life.ts';
import type { CreatedChunk } from './log-model.ts';
import { type Plan, planOf } from './plan.ts';
import { Scheduler } from './scheduler.ts';
import { SimRandom } from './sim-random.ts';
import { Bucket } from './store.ts';
import type { Variant } from './variants.ts';

/** One deletion of the log's objects, with what the store held right after it. */
export interface Deletion {
  readonly object: ObjectInfo;
  readonly atMs: number;
  /** By the store's clock. */
  readonly storeMs: number;
  readonly left: ReadonlySet<string>;
}

/** What all parts of one simulation share. */
export class World {
  readonly seed: number;
  readonly scheduler = new Scheduler();
  readonly random: SimRandom;
  readonly plan: Plan;
  readonly bucket: Bucket;
  readonly variant: Variant | undefined;
  readonly directory: string;
  readonly history: History = { operations: [], watches: [] };
  /** Chunks as the store first had them, by sequence. */
  readonly chunks = new Map<number, CreatedChunk>();
  readonly deletions: Deletion[] = [];
  /** Objects whose bits were flipped where they are stored. */
  readonly damaged = new Set<string>();
  /** What happened how often. */
  readonly counts = new Map<string, number>();
  readonly violations: string[] = [];
  /** Revisions that watchers were told, and the step in which they were. */
  readonly seen: { readonly revision: number; readonly step: number; readonly who: string }[] = [];
  /** While idle nobody starts or connects; at the end clients ask nothing more. */
  phase: 'active' | 'idle' | 'ending' = 'active';
  /** Processes whose clocks stood still for a while: their reads may be old, their writes must be safe. */
  readonly frozen = new Set<string>();
  readonly #tell: ((line: string) => void) | undefined;

  constructor(
    seed: number,
    directory: string,
    variant: Variant | undefined,
    tell: ((line: string) => void) | undefined,
  ) {
    this.seed = seed;
    this.directory = directory;
    this.variant = variant;
    this.#tell = tell;
    this.random = new SimRandom(seed);
    this.plan = planOf(this.random.part());
    this.bucket = new Bucket(this.scheduler, this.random.part(), {
      created: (key, body) => this.#created(key, body),
      deleted: (key, object) => this.#deleted(key, object),
      fault: (fault, life) => {
        if (fault === 'flips a bit of the answer') this.flipped.add(life);
        this.count(`fault: ${fault}`);
      },
    });
  }

  /** Processes that were told something else than what the store holds. */
  readonly flipped = new Set<Life>();

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  violation(text: string): void {
    this.violations.push(text);
    this.trace('!', `VIOLATION: ${text}`);
  }

  trace(who: string, what: string): void {
    this.scheduler.note(what);
    this.#say(who, what);
  }

  /** For what is only made when somebody reads it. */
  explain(who: string, what: () => string): void {
    if (this.#tell !== undefined) this.#say(who, what());
  }

  #say(who: string, what: string): void {
    this.#tell?.(`${(this.scheduler.nowMs / 1000).toFixed(4).padStart(10)} ${who.padEnd(5)} ${what}`);
  }

  /** A process's log is part of the trace. */
  logOf(who: string): Log {
    const write =
      (level: string): Log['info'] =>
      (message, fields) => {
        if (this.#tell === undefined) return;
        this.#say(who, `${level} ${message} ${fields === undefined ? '' : JSON.stringify(fields)}`);
      };
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }

  #created(key: string, body: Uint8Array): void {
    this.trace('store', `has ${key} (${body.length} bytes)`);
    const sequence = parseChunkKey(key);
    if (sequence === undefined) return;
    const { step, nowMs: atMs } = this.scheduler;
    if (!this.chunks.has(sequence)) this.chunks.set(sequence, { body, step, atMs });
    else this.violation(`${key} was created again, after it had been deleted`);
  }

  #deleted(key: string, object: ObjectInfo): void {
    this.trace('store', `no longer has ${key}`);
    if (key.startsWith('lease/')) return;
    this.deletions.push({
      object,
      atMs: this.scheduler.nowMs,
      storeMs: this.bucket.nowMs,
      left: new Set([...this.bucket.objects.keys()].filter((name) => !name.startsWith('lease/'))),
    });
  }
}
