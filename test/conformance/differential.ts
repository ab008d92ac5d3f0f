import { type Change, changeOf, History, type WatchModel } from './history.ts';
import { Mailbox } from './mailbox.ts';
import { type Call, type Fields, type Operation, show, type WatchOperation } from './operations.ts';
import { Peers } from './peers.ts';
import { type CreateRequest, StreamPair } from './stream-pair.ts';

const GRANTED_LEASES = [1n, 2n, 3n, 4n];
const EVERYTHING: Fields = { key: '\x00', rangeEnd: '\x00' };
const METRICS_EVERY_MS = 15;
const METRICS_TRIES = 1000;

/** The two servers differ after `operations` operations of a sequence. */
export class Difference extends Error {
  readonly operations: number;

  constructor(operations: number, message: string, cause: unknown) {
    super(message, { cause });
    this.operations = operations;
  }
}

type Create = Extract<WatchOperation, { watch: 'create' }>;

/**
 * Carries operations out on both servers, one after the other: each is answered, and every watch has what it wants of
 * it, before the next one is sent. So what a server says does not depend on how fast it is, and all of it can be
 * compared. `race` is the exception.
 */
export class Differential {
  readonly #peers: Peers;
  readonly #mailbox = new Mailbox();
  readonly #history = new History();
  readonly #streams = new Map<number, StreamPair>();
  /** Changes that came and that the streams' watches have not been told of. */
  #changes: Change[] = [];
  #recorder: StreamPair;
  #recordedRevision = 1n;

  private constructor(peers: Peers) {
    this.#peers = peers;
    this.#recorder = this.#makeRecorder();
  }

  /** Starts both servers. */
  static async start(): Promise<Differential> {
    const peers = await Peers.start();
    const differential = new Differential(peers);
    await differential.#startRecorder();
    return differential;
  }

  async stop(): Promise<void> {
    this.#closeStreams();
    this.#recorder.close();
    await this.#peers.stop();
  }

  /** Carries a sequence out on empty servers; rejects at the first difference, and says after which operation. */
  async run(operations: readonly Operation[]): Promise<void> {
    await this.#clear();
    const start = this.#peers.newestRevision;
    for (const [index, operation] of operations.entries()) {
      try {
        await this.#perform(operation);
      } catch (error) {
        throw new Difference(index + 1, `after ${show(operation)}\n${(error as Error).message}`, error);
      }
    }
    await this.#checkEnd(start);
    await this.#revokeAll();
    await this.#settle();
  }

  /** Compares all that both servers hold: every revision that is not compacted, and the leases. */
  async checkEverything(): Promise<void> {
    await this.#checkEnd(1n);
  }

  /**
   * After a failure: whether both servers still hold the same, so that another sequence can run on them. Then the
   * watches begin anew.
   */
  async recover(): Promise<boolean> {
    this.#closeStreams();
    this.#recorder.close();
    this.#history.clear();
    this.#changes = [];
    this.#recordedRevision = 1n;
    this.#recorder = this.#makeRecorder();
    try {
      // The header of what both answer has the revision.
      await this.#peers.call({ rpc: 'Range', request: EVERYTHING });
      await this.#startRecorder();
      await this.#clear();
      await this.checkEverything();
      return true;
    } catch {
      return false;
    }
  }

  async #perform(operation: Operation): Promise<void> {
    if ('rpc' in operation) await this.#call(operation);
    else if ('shortLease' in operation) await this.#shortLease(operation.shortLease);
    else if ('wait' in operation) await this.#waitForRevision();
    else await this.#watch(operation);
  }

  async #call(call: Call): Promise<void> {
    const before = this.#peers.compactRevision;
    if (this.#isLeftOut(call)) return;
    await this.#peers.call(call);
    const { compactRevision } = this.#peers;
    if (compactRevision > before) {
      this.#history.compact(compactRevision);
      // Fails on both, and not before the rows of the compaction are gone.
      await this.#peers.call({ rpc: 'Compact', request: { revision: compactRevision, physical: true } });
    }
    await this.#settle();
  }

  /** See the list in `comparable.ts`. */
  #isLeftOut({ rpc, request }: Call): boolean {
    const asked = this.#peers.resolve(request)[0]!['revision'] as bigint | undefined;
    if (rpc === 'Compact') return this.#history.recreates(asked!);
    if (rpc !== 'HashKV') return false;
    if (this.#peers.sides[0].recentlyChosen.length > 0) return true;
    return this.#peers.compactions.has(asked === 0n ? this.#peers.newestRevision : asked!);
  }

  /** For a revision that no call answers with. */
  async #waitForRevision(): Promise<void> {
    this.#peers.newestRevision += 1n;
    await this.#settle();
  }

  async #shortLease(grant: Fields): Promise<void> {
    await this.#peers.call({ rpc: 'LeaseGrant', request: grant });
    const asked = grant['ID'] as bigint;
    await this.#peers.revoke(
      this.#peers.sides.map((side) => (asked === 0n ? side.recentlyChosen.pop()! : asked)),
    );
  }

  async #watch(operation: WatchOperation): Promise<void> {
    if (operation.watch === 'race') await this.#race(operation.put);
    else if (operation.watch === 'create') await this.#create(operation);
    else {
      const stream = this.#streams.get(operation.stream);
      if (stream === undefined) return;
      if (operation.watch === 'close') this.#close(operation.stream);
      else if (!stream.requestsEnded) await this.#request(stream, operation);
    }
    await this.#settle();
  }

  async #request(
    stream: StreamPair,
    operation: Exclude<WatchOperation, { watch: 'create' | 'race' }>,
  ): Promise<void> {
    if (operation.watch === 'cancel') stream.cancel(operation.watchId);
    else if (operation.watch === 'progress') await stream.progress(this.#peers.newestRevision);
    else if (operation.watch === 'endRequests') stream.endRequests();
    else stream.sendNothing();
  }

  async #create({ stream: number, request, progressAtOnce }: Create): Promise<void> {
    if (this.#streams.get(number)?.requestsEnded) this.#close(number);
    let stream = this.#streams.get(number);
    if (stream === undefined) {
      stream = new StreamPair(this.#peers.sides, this.#mailbox);
      this.#streams.set(number, stream);
    }
    const watch = await stream.create(this.#peers.resolve(request) as CreateRequest[], progressAtOnce);
    if (watch !== undefined) await this.#owePast(stream, watch);
    if (progressAtOnce) stream.barrier();
  }

  /** What a watch from the past is owed; resolves when it has that and follows the present on both servers. */
  async #owePast(stream: StreamPair, watch: WatchModel): Promise<void> {
    const { newestRevision, compactRevision } = this.#peers;
    const { startRevision } = watch;
    if (startRevision === 0n || startRevision > newestRevision) return;
    if (startRevision < compactRevision) {
      stream.oweCompacted(watch);
      return;
    }
    const owed = stream.oweEvents(this.#history.from(startRevision, compactRevision), watch);
    // Its first events say that it has caught up. Without any only the servers' metrics do.
    if (owed === 0) await this.#allCaughtUp();
  }

  async #allCaughtUp(): Promise<void> {
    for (let tries = 0; tries < METRICS_TRIES; tries++) {
      const behind = await Promise.all(this.#peers.sides.map((side) => side.watchesBehind()));
      if (behind.every((watches) => watches === 0)) return;
      await new Promise((resolve) => setTimeout(resolve, METRICS_EVERY_MS));
    }
    throw new Error('a watch does not catch up');
  }

  async #race(put: Fields): Promise<void> {
    const open = [...this.#streams.values()].filter(({ requestsEnded }) => !requestsEnded);
    for (const stream of open) stream.sendProgress();
    const answered = this.#peers.call({ rpc: 'Put', request: put });
    for (const stream of open) stream.sendProgress();
    await answered;
    for (const stream of open) stream.barrier();
  }

  /** Waits until everything has come that the last operation brings, and compares it. */
  async #settle(): Promise<void> {
    const { newestRevision } = this.#peers;
    if (newestRevision > this.#recordedRevision) {
      await this.#recorder.reach(newestRevision);
      this.#recordedRevision = newestRevision;
    }
    this.#recorder.compare();
    const changes = this.#changes.splice(0);
    for (const stream of this.#streams.values()) {
      stream.oweEvents(changes);
      await stream.settle();
    }
  }

  async #checkEnd(from: bigint): Promise<void> {
    await this.#peers.checkHistory(from);
    await this.#peers.call({ rpc: 'LeaseLeases', request: {} });
    for (const ID of GRANTED_LEASES) {
      await this.#peers.call({ rpc: 'LeaseTimeToLive', request: { ID, keys: true } });
    }
    for (const stream of this.#streams.values()) {
      if (!stream.requestsEnded) stream.cancelAll();
    }
    await this.#settle();
  }

  /**
   * Empties both servers but for one key and one lease, and compacts what was before. So a sequence does the same after any other,
   * and a failing one can be made smaller.
   */
  async #clear(): Promise<void> {
    this.#closeStreams();
    await this.#revokeAll();
    await this.#peers.call({ rpc: 'DeleteRange', request: EVERYTHING });
    await this.#peers.call({ rpc: 'LeaseGrant', request: { ID: 1n, TTL: 1_000_000n } });
    for (const value of ['x', 'y']) await this.#peers.call({ rpc: 'Put', request: { key: 'a', value } });
    // Else etcd, which looks a prev_kv up when it sends the event, may find it compacted.
    await this.#settle();
    await this.#call({ rpc: 'Compact', request: { revision: this.#peers.newestRevision, physical: true } });
  }

  /** Revokes the leases, which deletes their keys; the recorder gets to see in which order. */
  async #revokeAll(): Promise<void> {
    for (const ID of GRANTED_LEASES) await this.#peers.call({ rpc: 'LeaseRevoke', request: { ID } });
    await this.#peers.revokeChosen();
  }

  #closeStreams(): void {
    for (const number of [...this.#streams.keys()]) this.#close(number);
  }

  #close(number: number): void {
    this.#streams.get(number)?.close();
    this.#streams.delete(number);
  }

  /** A watch of everything, from which the history is known. */
  #makeRecorder(): StreamPair {
    return new StreamPair(this.#peers.sides, this.#mailbox, ({ events }) => {
      const changes = events.map(changeOf);
      this.#history.add(changes);
      this.#changes.push(...changes);
    });
  }

  async #startRecorder(): Promise<void> {
    const { newestRevision, compactRevision } = this.#peers;
    const startRevision = compactRevision > 0n ? compactRevision : 1n;
    const request = { ...EVERYTHING, prevKv: true, startRevision };
    await this.#recorder.create(this.#peers.resolve(request) as CreateRequest[], false);
    if (newestRevision > 1n) await this.#settle();
    else await this.#allCaughtUp();
  }
}
