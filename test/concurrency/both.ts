import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { bytes, EtcdClient, type Outcome, text } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';

/** Who answered; and leases that the server chose itself, which are large. */
const OWN_FIELDS = new Set(['clusterId', 'memberId', 'raftTerm']);
const CHOSEN_LEASE = /^-?\d{12,}$/;
const ALL = { key: bytes('\x00'), rangeEnd: bytes('\x00') };

/** One of the two servers that a test talks to. */
export class Peer {
  readonly client: EtcdClient;
  readonly authority: string;

  constructor(authority: string) {
    this.authority = authority;
    this.client = new EtcdClient(authority);
  }

  /** Every key as `key value create_revision mod_revision lease`, and the revision. */
  async contents(): Promise<string[]> {
    const { header, kvs } = await this.client.call(KV.method.range, ALL);
    const lines = kvs.map(({ key, value, createRevision, modRevision, lease }) =>
      [hideLease(text(key)), text(value), createRevision, modRevision, hideLease(String(lease))].join(' '),
    );
    return [...lines, `revision ${header?.revision}`];
  }

  async createRevision(key: string): Promise<bigint | undefined> {
    return (await this.client.call(KV.method.range, { key: bytes(key) })).kvs[0]?.createRevision;
  }

  async grant(...ids: bigint[]): Promise<void> {
    for (const ID of ids) await this.client.call(Lease.method.leaseGrant, { ID, TTL: 600n });
  }

  async revoke(ID: bigint): Promise<void> {
    await this.client.call(Lease.method.leaseRevoke, { ID });
  }

  /** Resolves when a key is there, or is not. */
  async untilKey(key: string, exists: boolean): Promise<void> {
    while (((await this.createRevision(key)) !== undefined) !== exists);
  }
}

/** A real etcd and our server for the suite around it; tests that compare say to both the same. */
export class Both {
  #netsy: Netsy | undefined;
  #etcd: Etcd | undefined;
  peers: readonly Peer[] = [];

  /** Call it within a `describe`. */
  constructor() {
    before(async () => {
      [this.#netsy, this.#etcd] = await Promise.all([startNetsy(), startEtcd(temporaryDirectory())]);
      this.peers = [new Peer(this.#netsy.authority), new Peer(new URL(this.#etcd.endpoint).host)];
    });
    after(async () => {
      for (const { client } of this.peers) client.close();
      await Promise.all([this.#netsy?.stop(), this.#etcd?.process.stop()]);
    });
  }

  /** Runs `script` against both, and throws unless both saw the same; gives what they saw. */
  async see<T>(script: (peer: Peer) => Promise<T>): Promise<T> {
    const [ours, theirs] = await Promise.all(this.peers.map(script));
    assert.deepEqual(ours, theirs, 'netsy (actual) and etcd (expected) differ');
    return theirs!;
  }
}

/** A response, or a failure, without what is a server's own. */
export function comparable<O extends DescMessage>(schema: O, outcome: Outcome<MessageShape<O>>): unknown {
  if ('failure' in outcome) return outcome.failure;
  const json = JSON.stringify(toJson(schema, outcome.value), (name, field: unknown) => {
    if (OWN_FIELDS.has(name)) return undefined;
    if (name === 'key') return hideLease(Buffer.from(String(field), 'base64').toString('latin1'));
    return name === 'lease' ? hideLease(String(field)) : field;
  });
  return JSON.parse(json);
}

function hideLease(word: string): string {
  return CHOSEN_LEASE.test(word) ? 'chosen' : word.replace(/\/[0-9a-f]{10,}$/, '/chosen');
}
