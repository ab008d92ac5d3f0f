import assert from 'node:assert/strict';
import {
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { KV, Lease, RangeResponseSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { EtcdClient, type Failure, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { type Operation, type Rpc, resolveFields } from './operations.ts';

/** What both servers must agree on: a response without what is a server's own, or a failure. */
export type Answer = { readonly response: unknown } | { readonly failure: Failure };

type Send = (client: EtcdClient, request: never) => Promise<unknown>;

/** How each operation is sent; the answer is JSON with the fields that differ by intention left out. */
const SENDERS: Readonly<Record<Rpc, Send>> = {
  Range: unary(KV.method.range),
  RangeStream: merged(KV.method.rangeStream),
  Put: unary(KV.method.put),
  DeleteRange: unary(KV.method.deleteRange),
  Txn: unary(KV.method.txn),
  Compact: unary(KV.method.compact),
  LeaseGrant: unary(Lease.method.leaseGrant),
  LeaseRevoke: unary(Lease.method.leaseRevoke),
  LeaseKeepAlive: async (client, request) => {
    const method = Lease.method.leaseKeepAlive;
    const answers = await client.exchange(method, [request]);
    return answers.map((answer) => comparable(method.output, answer));
  },
  LeaseTimeToLive: unary(Lease.method.leaseTimeToLive),
  LeaseLeases: unary(Lease.method.leaseLeases),
};

function unary<I extends DescMessage, O extends DescMessage>(method: DescMethodUnary<I, O>): Send {
  return async (client, request) => comparable(method.output, await client.call(method, request));
}

/** The pieces of a stream are each server's own choice: what they come to together is compared. */
function merged(method: DescMethodServerStreaming<DescMessage, DescMessage>): Send {
  return async (client, request) => {
    const pieces = await client.collect(KV.method.rangeStream, request);
    const bytes = pieces.map(({ rangeResponse }) => toBinary(RangeResponseSchema, rangeResponse!));
    assert.ok(
      pieces.every(({ rangeResponse }, index) => !rangeResponse?.header || index === pieces.length - 1),
      `${method.name}: only the last piece has a header`,
    );
    return comparable(RangeResponseSchema, fromBinary(RangeResponseSchema, Buffer.concat(bytes)));
  };
}

/** Differences that are meant: who answered, seconds that pass, and the order of a lease's keys, random in etcd. */
const OWN_FIELDS = new Set(['clusterId', 'memberId', 'raftTerm']);

function comparable<S extends DescMessage>(schema: S, message: MessageShape<S>): unknown {
  const json = JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }), (name, field) =>
    OWN_FIELDS.has(name) ? undefined : field,
  );
  const response = JSON.parse(json) as { TTL?: string; grantedTTL?: string; keys?: string[] };
  response.keys?.sort();
  if (response.grantedTTL !== undefined && Number(response.TTL) > 0) {
    assert.ok(Number(response.TTL) <= Number(response.grantedTTL));
    response.TTL = 'some';
  }
  return response;
}

/** Our server and a real etcd, fresh or in the same state. */
export class Peers {
  readonly #netsy: Netsy;
  readonly #etcd: Etcd;
  readonly #clients: readonly [netsy: EtcdClient, etcd: EtcdClient];
  newestRevision = 1n;
  /** False once they have answered differently: nothing can be told from their next answers. */
  agree = true;

  private constructor(netsy: Netsy, etcd: Etcd) {
    this.#netsy = netsy;
    this.#etcd = etcd;
    this.#clients = [new EtcdClient(netsy.authority), new EtcdClient(new URL(etcd.endpoint).host)];
  }

  static async start(): Promise<Peers> {
    const etcd = await startEtcd(temporaryDirectory());
    try {
      return new Peers(await startNetsy(), etcd);
    } catch (error) {
      await etcd.process.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all([this.#netsy.stop(), this.#etcd.process.stop()]);
  }

  /** Sends an operation to both, and throws when their answers differ. */
  async check(operation: Operation): Promise<Answer> {
    const request = resolveFields(operation.request, this.newestRevision);
    const [ours, theirs] = await Promise.all(
      this.#clients.map(async (client): Promise<Answer> => {
        const outcome = await settled(SENDERS[operation.rpc](client, request as never));
        return 'value' in outcome ? { response: outcome.value } : outcome;
      }),
    );
    try {
      assert.deepEqual(ours, theirs);
    } catch (error) {
      this.agree = false;
      const [sent, got, wanted] = [request, ours, theirs].map((one) => JSON.stringify(one, readable));
      throw new Error(`${operation.rpc} ${sent}\n  netsy answers ${got}\n  etcd answers  ${wanted}`, {
        cause: error,
      });
    }
    this.#note(theirs!);
    return theirs!;
  }

  /** Compares the whole contents at every revision from `from` on. */
  async checkHistory(from: bigint): Promise<void> {
    for (let revision = from; revision <= this.newestRevision; revision++) {
      await this.check({ rpc: 'Range', request: { key: '\x00', rangeEnd: '\x00', revision } });
    }
  }

  #note(answer: Answer): void {
    if (!('response' in answer)) return;
    const { header } = answer.response as { header?: { revision?: string } };
    const revision = BigInt(header?.revision ?? 0);
    if (revision > this.newestRevision) this.newestRevision = revision;
  }
}

function readable(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
}
