import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  KV,
  Lease,
  Maintenance,
  type RequestOpSchema,
  Watch,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, settled, text } from '../support/etcd-client.ts';
import { Seeded } from '../support/seeded.ts';

/** Everything that clients can see of a server's store, as JSON texts that can be compared. */
export interface StoreState {
  revision: string;
  compactRevision: string;
  /** All keys, at every revision that is not compacted. */
  revisions: string[];
  /** What a watch of everything tells, from the first revision after the compaction. */
  events: string[];
  leases: string[];
}

type RequestOp = MessageInitShape<typeof RequestOpSchema>;

const ALL = { key: bytes('\0'), rangeEnd: bytes('\0') };
const LEASES = [7n, 8n, 2n ** 62n + 5n];
const KEYS = 20;

/** Makes `writes` random writes: puts, deletes, transactions, leases that come and go, and compactions. */
export async function writeHistory(client: EtcdClient, seed: number, writes: number): Promise<void> {
  const history = new History(client, seed);
  for (let write = 0; write < writes; write++) await history.write();
}

class History {
  readonly #client: EtcdClient;
  readonly #random: Seeded;
  #revision = 1n;

  constructor(client: EtcdClient, seed: number) {
    this.#client = client;
    this.#random = new Seeded(seed);
  }

  async write(): Promise<void> {
    const kind = this.#below(20);
    if (kind < 9) await this.#txn([this.#put()]);
    else if (kind < 12) await this.#txn([this.#delete()]);
    else if (kind < 15) await this.#txn(this.#several());
    else if (kind < 17) await this.#grant();
    else if (kind < 18) await settled(this.#client.call(Lease.method.leaseRevoke, { ID: this.#lease() }));
    else if (kind < 19 && this.#revision > 4n) await this.#compact();
    else await this.#txn([this.#deleteSome()]);
  }

  #below(end: number): number {
    return this.#random.integer(0, end);
  }

  #key(): Uint8Array<ArrayBuffer> {
    return bytes(`key/${this.#below(KEYS)}`);
  }

  #lease(): bigint {
    return LEASES[this.#below(LEASES.length)]!;
  }

  #put(key = this.#key()): RequestOp {
    const length = this.#below(10) === 0 ? 5000 + this.#below(5000) : this.#below(40);
    const lease = this.#below(4) === 0 ? this.#lease() : 0n;
    const value = bytes(String.fromCharCode(97 + this.#below(26)).repeat(length));
    return { request: { case: 'requestPut', value: { key, value, lease } } };
  }

  #delete(key = this.#key()): RequestOp {
    return { request: { case: 'requestDeleteRange', value: { key } } };
  }

  #deleteSome(): RequestOp {
    return {
      request: { case: 'requestDeleteRange', value: { key: bytes('key/1'), rangeEnd: bytes('key/15') } },
    };
  }

  /** Different keys, since a transaction may not write one twice. */
  #several(): RequestOp[] {
    const first = this.#below(KEYS);
    return [0, 1, 2].map((step) => {
      const key = bytes(`key/${(first + step) % KEYS}`);
      return this.#below(4) === 0 ? this.#delete(key) : this.#put(key);
    });
  }

  /** A put to a lease that is not there fails, on every server alike. */
  async #txn(success: RequestOp[]): Promise<void> {
    const outcome = await settled(this.#client.call(KV.method.txn, { success }));
    if ('value' in outcome) this.#revision = outcome.value.header!.revision;
  }

  async #grant(): Promise<void> {
    await settled(
      this.#client.call(Lease.method.leaseGrant, { ID: this.#lease(), TTL: BigInt(5000 + this.#below(90)) }),
    );
  }

  async #compact(): Promise<void> {
    const revision = this.#revision - BigInt(this.#below(30));
    // etcd accepts one at 0 before any other, and from then on, until it restarts, answers a HashKV that names no
    // revision (0) with what that compaction hashed.
    if (revision < 1n) return;
    await settled(this.#client.call(KV.method.compact, { revision, physical: true }));
  }
}

/** Reads everything. `authority` is `host:port`. */
export async function stateOf(authority: string): Promise<StoreState> {
  const client = new EtcdClient(authority);
  try {
    const { header } = await client.call(KV.method.range, { key: bytes('x'), countOnly: true });
    const { revision } = header!;
    const compactRevision = await compactRevisionOf(authority);
    const first = compactRevision > 0n ? compactRevision : 1n;
    const revisions: string[] = [];
    for (let at = first; at <= revision; at++) {
      const { kvs } = await client.call(KV.method.range, { ...ALL, revision: at });
      revisions.push(json(kvs));
    }
    // The compaction revision's own events have no prev_kv, unless they are fresh in our server's memory.
    const events = await watchFrom(authority, compactRevision + 1n, revision);
    const leases = await leasesOf(client);
    return {
      revision: String(revision),
      compactRevision: String(compactRevision),
      revisions,
      events,
      leases,
    };
  } finally {
    client.close();
  }
}

/** etcd's number for the whole history. */
export async function hashKvOf(authority: string): Promise<object> {
  const client = new EtcdClient(authority);
  try {
    const { hash, compactRevision, hashRevision } = await client.call(Maintenance.method.hashKV, {});
    return { hash, compactRevision, hashRevision };
  } finally {
    client.close();
  }
}

/** A watch from revision 1 is told up to where history is gone; 0 if it is all there. */
async function compactRevisionOf(authority: string): Promise<bigint> {
  let compactRevision = 0n;
  await watchUntil(authority, 1n, (message) => {
    compactRevision = message.compactRevision;
    return message.canceled || message.events.length > 0 || message.header!.revision <= 1n;
  });
  return compactRevision;
}

async function watchFrom(authority: string, from: bigint, to: bigint): Promise<string[]> {
  const seen: string[] = [];
  let reached = 0n;
  if (to <= 1n || from > to) return seen;
  await watchUntil(authority, from, (message) => {
    for (const event of message.events) {
      seen.push(json(event));
      reached = event.kv!.modRevision;
    }
    return reached >= to || message.canceled;
  });
  return seen;
}

type WatchMessage = Parameters<
  NonNullable<
    Parameters<
      typeof EtcdClient.prototype.watch<typeof Watch.method.watch.input, typeof Watch.method.watch.output>
    >[2]
  >
>[0];

async function watchUntil(
  authority: string,
  startRevision: bigint,
  done: (message: WatchMessage) => boolean,
): Promise<void> {
  const client = new EtcdClient(authority);
  const create = { ...ALL, startRevision, prevKv: true };
  await new Promise<void>((resolve, reject) => {
    const request = { requestUnion: { case: 'createRequest' as const, value: create } };
    client
      .watch(Watch.method.watch, request, (message) => {
        if (done(message)) resolve();
      })
      .then(resolve, reject);
  }).finally(() => client.close());
}

async function leasesOf(client: EtcdClient): Promise<string[]> {
  const { leases } = await client.call(Lease.method.leaseLeases, {});
  const found: string[] = [];
  for (const { ID } of leases) {
    const { grantedTTL, keys } = await client.call(Lease.method.leaseTimeToLive, { ID, keys: true });
    found.push(`${ID} ${grantedTTL} ${keys.map(text).sort().join()}`);
  }
  return found.sort();
}

/** Long values by their length and hash, so that a difference can be read. */
function json(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, name, field: unknown) {
    if (name === '$typeName') return undefined;
    const raw = this[name];
    if (raw instanceof Uint8Array) return raw.length < 60 ? text(raw) : `${raw.length} ${sha256(raw)}`;
    return typeof raw === 'bigint' ? String(raw) : field;
  });
}

function sha256(of: Uint8Array): string {
  return createHash('sha256').update(of).digest('hex');
}

/** Throws at the first difference. */
export function assertSameState(found: StoreState, wanted: StoreState): void {
  for (const name of ['revision', 'compactRevision', 'leases'] as const) {
    assert.deepEqual(found[name], wanted[name], name);
  }
  for (const name of ['revisions', 'events'] as const) {
    const at = wanted[name].findIndex((one, index) => one !== found[name][index]);
    assert.ok(at === -1, `${name}, number ${at}:\nfound  ${found[name][at]}\nwanted ${wanted[name][at]}`);
    assert.equal(found[name].length, wanted[name].length, name);
  }
}
