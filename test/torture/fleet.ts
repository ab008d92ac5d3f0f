import assert from 'node:assert/strict';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Maintenance } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Client } from '../crash/client.ts';
import { type Netsy, type NetsyOptions, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { LogFollower } from './follower.ts';
import { FAIR, type S3Proxy } from './s3-proxy.ts';

/** The processes on one store, each with a data directory, a way to the store and a watcher of its own. */

const STATUS_MS = 2_000;
const LEADER_MS = 60_000;
/** A process may end by itself only for this reason. */
/** What a start says when the store did not answer as it should. */
const STORE_FAILED = /^\{"level":"error","ts":"[^"]*","msg":".*(no answer|SlowDown|broke off|503|429)/m;
const STARTS_MAX = 5;
const FENCED = /"error":"fenced: /;

export interface Running {
  readonly netsy: Netsy;
  readonly client: Client;
  /** How it ended; undefined while it runs. */
  ended: string | undefined;
  /** We have ended it, or are about to. */
  expectedToEnd: boolean;
}

export interface SlotParts {
  readonly name: string;
  readonly store: string;
  readonly leaseTtlMs: number;
  readonly environment: Readonly<Record<string, string>>;
  /** Undefined for a store that is no server. */
  readonly proxy: S3Proxy | undefined;
}

/** One place for a process, which comes and goes. */
export class Slot {
  readonly name: string;
  readonly proxy: S3Proxy | undefined;
  readonly follower = new LogFollower();
  dataDir = temporaryDirectory();
  running: Running | undefined;
  /** Starts that the store's failures ended. */
  startsFailed = 0;
  /** Of the processes before. */
  readonly logs: string[] = [];
  readonly #parts: SlotParts;

  constructor(parts: SlotParts) {
    this.name = parts.name;
    this.proxy = parts.proxy;
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.running !== undefined && this.running.ended === undefined;
  }

  /** Starts a process on what the one before left, and resolves when it serves. */
  async start(): Promise<Running> {
    this.#close();
    const { store, leaseTtlMs, environment, proxy, name } = this.#parts;
    const netsy = await this.#serving({
      dataDir: this.dataDir,
      arguments: [
        ...['--store', store, '--lease-ttl', `${leaseTtlMs}ms`, '--name', name],
        // Small batches, so that several chunks are under way; snapshots now and then.
        ...['--batch-max-requests', '8', '--request-timeout', '4s', '--snapshot-records', '1000'],
      ],
      environment: { ...environment, ...(proxy && { AWS_ENDPOINT_URL_S3: proxy.endpoint }) },
    });
    const running: Running = {
      netsy,
      client: new Client(netsy.authority),
      ended: undefined,
      expectedToEnd: false,
    };
    this.running = running;
    void netsy.exited.then((how) => {
      running.ended = how;
    });
    await this.follower.attach(running.client);
    return running;
  }

  /** A start that the store fails ends, and whoever supervises it tries again; here in fair weather. */
  async #serving(options: NetsyOptions): Promise<Netsy> {
    const { proxy } = this;
    const weather = proxy?.weather ?? FAIR;
    for (let tries = 1; ; tries++) {
      try {
        const netsy = await startNetsy(options);
        if (proxy !== undefined) proxy.weather = weather;
        return netsy;
      } catch (error) {
        if (tries === STARTS_MAX || !STORE_FAILED.test((error as Error).message)) throw error;
        this.startsFailed++;
        if (proxy !== undefined) proxy.weather = FAIR;
      }
    }
  }

  async kill(): Promise<void> {
    const { running } = this;
    if (running === undefined || running.ended !== undefined) return;
    running.expectedToEnd = true;
    await running.netsy.kill();
  }

  /** Deletes the cache, or all of the data directory; nothing may run. */
  wipe(what: 'cache' | 'data directory'): void {
    rmSync(what === 'cache' ? join(this.dataDir, 'cache') : this.dataDir, { recursive: true, force: true });
    if (what === 'data directory') this.dataDir = temporaryDirectory();
  }

  /** Throws if the process ended by itself for another reason than that another one is the primary. */
  checkEnd(): void {
    const { running } = this;
    if (running?.ended === undefined || running.expectedToEnd) return;
    const log = running.netsy.log();
    assert.ok(
      running.ended === 'exit code 1' && FENCED.test(log),
      `${this.name} ended by itself: ${running.ended}: ${log.split('\n').slice(-3).join(' ')}`,
    );
  }

  /** Whether it says that it is the primary. */
  async leads(): Promise<boolean> {
    if (!this.isRunning) return false;
    try {
      const { leader, header } = await this.running!.client.call(Maintenance.method.status, {}, STATUS_MS);
      return leader === header!.memberId;
    } catch {
      return false;
    }
  }

  /** Ends the process, and copies what is there to learn from into `directory`. */
  async keep(directory: string): Promise<void> {
    await this.kill();
    this.#close();
    writeFileSync(join(directory, `${this.name}.log`), this.logs.join('\n---- the next process\n'));
    cpSync(this.dataDir, join(directory, this.name), { recursive: true });
  }

  #close(): void {
    if (this.running === undefined) return;
    this.logs.push(this.running.netsy.log());
    this.running.client.close();
    this.running = undefined;
  }

  async end(): Promise<void> {
    await this.kill();
    this.#close();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

export class Fleet {
  readonly slots: readonly Slot[];

  constructor(slots: readonly Slot[]) {
    this.slots = slots;
  }

  get running(): readonly Slot[] {
    return this.slots.filter((slot) => slot.isRunning);
  }

  get clients(): readonly Client[] {
    return this.running.map((slot) => slot.running!.client);
  }

  /** The primary, other than `except`, as soon as there is one. */
  async primary(except?: Slot): Promise<Slot> {
    const until = systemClock.monotonicMs() + LEADER_MS;
    for (;;) {
      for (const slot of this.running) if (slot !== except && (await slot.leads())) return slot;
      assert.ok(systemClock.monotonicMs() < until, `no primary within ${LEADER_MS} ms`);
      await systemClock.sleep(50);
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.end()));
  }

  /** How often a standby became the primary, by the logs. */
  get takeovers(): number {
    const logs = this.slots.flatMap((slot) => [...slot.logs, slot.running?.netsy.log() ?? '']);
    return logs.reduce((sum, log) => sum + (log.match(/"msg":"took over"/g)?.length ?? 0), 0);
  }
}
