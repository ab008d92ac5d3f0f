import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import {
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  KV,
  Lease,
  Maintenance,
  RangeResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { type Failure, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { comparable } from './comparable.ts';
import { type Call, type Fields, type Rpc, resolveFields, showValue } from './operations.ts';
import { Side } from './side.ts';

/** What both servers must agree on: a response without what is a server's own, or a failure. */
export type Answer = { readonly response: unknown } | { readonly failure: Failure };

type Send = (side: Side, request: never) => Promise<unknown>;

/** How each call is sent, and what is compared of what it answers. */
const SENDERS: Readonly<Record<Rpc, Send>> = {
  Range: unary(KV.method.range),
  RangeStream: merged(KV.method.rangeStream),
  Put: unary(KV.method.put),
  DeleteRange: unary(KV.method.deleteRange),
  Txn: unary(KV.method.txn),
  Compact: unary(KV.method.compact),
  LeaseGrant: unary(Lease.method.leaseGrant, (side, { ID: asked }, { ID: given }) => {
    if (asked === 0n) side.choose(given);
  }),
  LeaseRevoke: unary(Lease.method.leaseRevoke),
  LeaseKeepAlive: async (side, request) => {
    const method = Lease.method.leaseKeepAlive;
    const answers = await side.client.exchange(method, [request]);
    return answers.map((answer) => comparable(method.output, answer, side.chosenLeases));
  },
  LeaseTimeToLive: unary(Lease.method.leaseTimeToLive),
  LeaseLeases: unary(Lease.method.leaseLeases),
  Status: unary(Maintenance.method.status),
  HashKV: unary(Maintenance.method.hashKV),
};

function unary<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  answered: (side: Side, request: MessageShape<I>, response: MessageShape<O>) => void = () => {},
): Send {
  return async (side, request) => {
    const response = await side.client.call(method, request);
    answered(side, request, response);
    return comparable(method.output, response, side.chosenLeases);
  };
}

/** Each server cuts a stream where it likes: what the pieces come to together is compared. */
function merged(method: DescMethodServerStreaming<DescMessage, DescMessage>): Send {
  return async (side, request) => {
    const pieces = await side.client.collect(KV.method.rangeStream, request);
    const bytes = pieces.map(({ rangeResponse }) => toBinary(RangeResponseSchema, rangeResponse!));
    assert.ok(
      pieces.every(({ rangeResponse }, index) => !rangeResponse?.header || index === pieces.length - 1),
      `${method.name}: only the last piece has a header`,
    );
    const whole = fromBinary(RangeResponseSchema, Buffer.concat(bytes));
    return comparable(RangeResponseSchema, whole, side.chosenLeases);
  };
}

/** Small limits, so that they are met; progress often, so that it comes between events. */
const FLAGS = ['--max-txn-ops', '8', '--watch-progress-notify-interval', '200ms'];

/** About ten events: a watch from a little further back is served from the cache. */
const NETSY_FLAGS = ['--watch-buffer-bytes', '1KiB'];

/** Our server and a real etcd in the same state, and what has become of that state. */
export class Peers {
  readonly #netsy: Netsy;
  readonly #etcd: Etcd;
  readonly sides: readonly [netsy: Side, etcd: Side];
  newestRevision = 1n;
  /** 0 before the first compaction. */
  compactRevision = 0n;
  readonly compactions = new Set<bigint>();

  private constructor(netsy: Netsy, etcd: Etcd) {
    this.#netsy = netsy;
    this.#etcd = etcd;
    this.sides = [new Side('netsy', netsy.endpoint), new Side('etcd', etcd.endpoint)];
  }

  static async start(): Promise<Peers> {
    const [etcd, netsy] = await Promise.allSettled([
      startEtcd(temporaryDirectory(), [...FLAGS, '--unsafe-no-fsync']),
      startNetsy({ arguments: [...FLAGS, ...NETSY_FLAGS] }),
    ]);
    if (etcd.status === 'fulfilled' && netsy.status === 'fulfilled')
      return new Peers(netsy.value, etcd.value);
    if (etcd.status === 'fulfilled') await etcd.value.process.stop();
    if (netsy.status === 'fulfilled') await netsy.value.stop();
    throw etcd.status === 'rejected' ? etcd.reason : (netsy as PromiseRejectedResult).reason;
  }

  async stop(): Promise<void> {
    for (const { client } of this.sides) client.close();
    await Promise.all([this.#netsy.stop(), this.#etcd.process.stop()]);
  }

  /** The request as each server is to get it now. */
  resolve(request: Fields): Record<string, unknown>[] {
    return this.sides.map((side) =>
      resolveFields(request, side.moment(this.newestRevision, this.compactRevision)),
    );
  }

  /** Sends a call to both, and throws when their answers differ. */
  async call({ rpc, request }: Call): Promise<Answer> {
    const requests = this.resolve(request);
    const [ours, theirs] = await this.#send(rpc, requests);
    assertSame(rpc, requests[1]!, ours, theirs);
    this.#note(rpc, requests[1]!, theirs);
    return theirs;
  }

  /** Revokes a lease, given by each server's id, that may have ended on one of them. */
  async revoke(ids: readonly bigint[]): Promise<void> {
    await this.#send(
      'LeaseRevoke',
      ids.map((ID) => ({ ID })),
    );
  }

  /** Revokes the leases whose ids the servers have chosen. */
  async revokeChosen(): Promise<void> {
    const [ours, theirs] = this.sides.map(({ recentlyChosen }) => recentlyChosen.splice(0));
    for (const [index, ID] of ours!.entries()) {
      const requests = [{ ID }, { ID: theirs![index]! }];
      const answers = await this.#send('LeaseRevoke', requests);
      assertSame('LeaseRevoke', requests, ...answers);
      this.#note('LeaseRevoke', requests[1]!, answers[1]);
    }
  }

  /** Compares the whole contents at every revision from `from`, or from the last compaction, on. */
  async checkHistory(from: bigint): Promise<void> {
    const first = from > this.compactRevision ? from : this.compactRevision;
    for (let revision = first; revision <= this.newestRevision; revision += HISTORY_AT_ONCE) {
      const until = [revision + HISTORY_AT_ONCE - 1n, this.newestRevision].reduce((a, b) => (a < b ? a : b));
      const some = Array.from(
        { length: Number(until - revision) + 1 },
        (_, index) => revision + BigInt(index),
      );
      await Promise.all(some.map((one) => this.call(wholeAt(one))));
    }
  }

  async #send(rpc: Rpc, requests: readonly Record<string, unknown>[]): Promise<[Answer, Answer]> {
    const answers = await Promise.all(
      this.sides.map(async (side, index): Promise<Answer> => {
        const outcome = await settled(SENDERS[rpc](side, requests[index] as never));
        return 'value' in outcome ? { response: outcome.value } : outcome;
      }),
    );
    return answers as [Answer, Answer];
  }

  #note(rpc: Rpc, request: Record<string, unknown>, answer: Answer): void {
    if (!('response' in answer)) return;
    const { header } = answer.response as { header?: { revision?: string } };
    const revision = BigInt(header?.revision ?? 0);
    if (revision > this.newestRevision) this.newestRevision = revision;
    if (rpc !== 'Compact') return;
    this.compactRevision = request['revision'] as bigint;
    this.compactions.add(this.compactRevision);
  }
}

const HISTORY_AT_ONCE = 16n;

function wholeAt(revision: bigint): Call {
  return { rpc: 'Range', request: { key: '\x00', rangeEnd: '\x00', revision } };
}

function assertSame(rpc: Rpc, request: unknown, ours: Answer, theirs: Answer): void {
  if (isDeepStrictEqual(ours, theirs)) return;
  const [sent, got, wanted] = [request, ours, theirs].map((one) => showValue(one));
  throw new Error(`${rpc} ${sent}\n  netsy answers ${got}\n  etcd answers  ${wanted}`);
}
