import assert from 'node:assert/strict';
import {
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from '@bufbuild/protobuf';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { EtcdClient, type Failure, settled } from '../support/etcd-client.ts';
import { type Netsy, type NetsyOptions, startNetsy, temporaryDirectory } from '../support/netsy.ts';

/** What a server answered: its message as JSON without what is its own, or how it failed. */
export type Outcome = { readonly response: Record<string, unknown> } | { readonly failure: Failure };

/** Of the response headers; an alarm's member is `memberID`. */
const OWN_FIELDS = new Set(['clusterId', 'memberId', 'raftTerm']);

/** Our server and a real etcd, to be sent the same. */
export class Pair {
  netsy: Netsy;
  readonly etcd: Etcd;
  ours: EtcdClient;
  readonly theirs: EtcdClient;
  readonly #options: NetsyOptions;

  private constructor(netsy: Netsy, etcd: Etcd, options: NetsyOptions) {
    this.netsy = netsy;
    this.etcd = etcd;
    this.#options = options;
    this.ours = new EtcdClient(netsy.authority);
    this.theirs = new EtcdClient(new URL(etcd.endpoint).host);
  }

  static async start(options: NetsyOptions = {}, etcdArguments: readonly string[] = []): Promise<Pair> {
    const etcd = await startEtcd(temporaryDirectory(), etcdArguments);
    try {
      const netsy = await startNetsy(options);
      return new Pair(netsy, etcd, { ...options, dataDir: netsy.dataDir });
    } catch (error) {
      await etcd.process.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const client of [this.ours, this.theirs]) client.close();
    await Promise.all([this.netsy.stop(), this.etcd.process.stop()]);
  }

  /** Kills our server as a power cut would and starts it again; `between` may change what lies on the disk. */
  async restartOurs(between: () => void = () => {}): Promise<void> {
    this.ours.close();
    await this.netsy.kill();
    between();
    this.netsy = await startNetsy(this.#options);
    this.ours = new EtcdClient(this.netsy.authority);
  }

  /** Sends a request to both; answers both outcomes. */
  async ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<{ ours: Outcome; theirs: Outcome }> {
    const [ours, theirs] = await Promise.all([
      outcomeOf(this.ours, method, request),
      outcomeOf(this.theirs, method, request),
    ]);
    return { ours, theirs };
  }

  /** Sends a request to both, which must come to the same; answers what that is. */
  async same<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<Outcome> {
    const { ours, theirs } = await this.ask(method, request);
    const sent = JSON.stringify(request, (_, one: unknown) => (typeof one === 'bigint' ? `${one}` : one));
    assert.deepEqual(ours, theirs, `${method.name} ${sent}`);
    return theirs;
  }
}

export async function outcomeOf<I extends DescMessage, O extends DescMessage>(
  client: EtcdClient,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): Promise<Outcome> {
  const outcome = await settled(client.call(method, request));
  return 'value' in outcome ? { response: comparable(method.output, outcome.value) } : outcome;
}

function comparable<S extends DescMessage>(schema: S, message: MessageShape<S>): Record<string, unknown> {
  const json = JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }), (name, field) =>
    OWN_FIELDS.has(name) ? undefined : field,
  );
  return JSON.parse(json) as Record<string, unknown>;
}
