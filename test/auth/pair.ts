import assert from 'node:assert/strict';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import {
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
  Watch,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { type Failure, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { CallerClient, type Shown } from './caller-client.ts';
import { type Operation, PASSWORDS, type Persona, type Rpc } from './operations.ts';

type Answer = { readonly response: unknown } | { readonly failure: Failure };
type Send = (client: CallerClient, request: never, shown: Shown) => Promise<unknown>;
type AnyMethod = Parameters<CallerClient['call']>[0];

/** Whose answer is not compared, but only whether there is one: what it says is other tests' concern. */
const ADMITTED = 'admitted';

const UNARY: Partial<Record<Rpc, AnyMethod>> = {
  AuthEnable: Auth.method.authEnable,
  AuthDisable: Auth.method.authDisable,
  AuthStatus: Auth.method.authStatus,
  Authenticate: Auth.method.authenticate,
  UserAdd: Auth.method.userAdd,
  UserGet: Auth.method.userGet,
  UserList: Auth.method.userList,
  UserDelete: Auth.method.userDelete,
  UserChangePassword: Auth.method.userChangePassword,
  UserGrantRole: Auth.method.userGrantRole,
  UserRevokeRole: Auth.method.userRevokeRole,
  RoleAdd: Auth.method.roleAdd,
  RoleGet: Auth.method.roleGet,
  RoleList: Auth.method.roleList,
  RoleDelete: Auth.method.roleDelete,
  RoleGrantPermission: Auth.method.roleGrantPermission,
  RoleRevokePermission: Auth.method.roleRevokePermission,
  Range: KV.method.range,
  Put: KV.method.put,
  DeleteRange: KV.method.deleteRange,
  Txn: KV.method.txn,
  Compact: KV.method.compact,
  LeaseGrant: Lease.method.leaseGrant,
  LeaseRevoke: Lease.method.leaseRevoke,
  LeaseTimeToLive: Lease.method.leaseTimeToLive,
  LeaseLeases: Lease.method.leaseLeases,
};
const ADMITTANCE: Partial<Record<Rpc, AnyMethod>> = {
  Status: Maintenance.method.status,
  Alarm: Maintenance.method.alarm,
  Hash: Maintenance.method.hash,
  MemberList: Cluster.method.memberList,
  MemberRemove: Cluster.method.memberRemove,
};
/** What users and roles have to do with. */
const AUTH_DETAILS = /permission denied|invalid auth token|revision of auth store|user name/;

const STREAMS: Partial<Record<Rpc, Send>> = {
  RangeStream: async (client, request, shown) => {
    const pieces = await client.collect(KV.method.rangeStream, request, shown);
    return pieces.map(({ rangeResponse }) =>
      rangeResponse?.kvs.map((kv) => Buffer.from(kv.key).toString('latin1')),
    );
  },
  LeaseKeepAlive: async (client, request, shown) => {
    const method = Lease.method.leaseKeepAlive;
    const answers = await client.first(method, [request], 1, shown);
    return answers.map((answer) => comparable(method.output, answer));
  },
  Watch: async (client, request, shown) => {
    const method = Watch.method.watch;
    const answers = await client.first(method, [request], 1, shown);
    return answers.map((answer) => comparable(method.output, answer));
  },
};

async function send(
  client: CallerClient,
  { rpc, request: asked }: Operation,
  shown: Shown,
): Promise<unknown> {
  const request = asked as Record<string, unknown>;
  const unary = UNARY[rpc];
  if (unary !== undefined) return comparable(unary.output, await client.call(unary, request, shown));
  const stream = STREAMS[rpc];
  if (stream !== undefined) return stream(client, request as never, shown);
  const outcome = await settled(client.call(ADMITTANCE[rpc]!, request, shown));
  if ('failure' in outcome && AUTH_DETAILS.test(outcome.failure.details)) return outcome;
  return ADMITTED;
}

const OWN_FIELDS = new Set(['clusterId', 'memberId', 'raftTerm', 'token']);

function comparable<S extends DescMessage>(schema: S, message: MessageShape<S>): unknown {
  const json = toJson(schema, message, { alwaysEmitImplicit: true });
  const text = JSON.stringify(json, (name, field) => (OWN_FIELDS.has(name) ? undefined : field));
  const answer = JSON.parse(text) as { TTL?: string; keys?: string[]; leases?: { ID: string }[] };
  if (Number(answer.TTL) > 0) answer.TTL = 'some';
  answer.keys?.sort();
  answer.leases?.sort((a, b) => a.ID.localeCompare(b.ID));
  return answer;
}

/** The tokens that one server gave in this sequence, by user, oldest first. */
type Tokens = Map<string, string[]>;

class Side {
  readonly client: CallerClient;
  tokens: Tokens = new Map();

  constructor(authority: string) {
    this.client = new CallerClient(authority);
  }

  async ask(operation: Operation): Promise<Answer> {
    const { rpc, as, request } = operation;
    if (rpc === 'Authenticate') return this.#authenticate(request as { name: string; password: string });
    const outcome = await settled(send(this.client, operation, this.#shown(as)));
    return 'value' in outcome ? { response: outcome.value } : outcome;
  }

  /** Leaves no users, roles, keys and leases, and auth disabled. */
  async clear(): Promise<void> {
    this.tokens = new Map();
    for (const password of PASSWORDS) {
      const login = await settled(this.client.login('root', password));
      if ('value' in login) await this.client.call(Auth.method.authDisable, {}, login.value);
    }
    const { client } = this;
    const { users } = await client.call(Auth.method.userList, {});
    for (const name of users) await client.call(Auth.method.userDelete, { name });
    const { roles } = await client.call(Auth.method.roleList, {});
    for (const role of roles) await client.call(Auth.method.roleDelete, { role });
    const all = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
    await client.call(KV.method.deleteRange, all);
    for (const ID of [1n, 2n]) await settled(client.call(Lease.method.leaseRevoke, { ID }));
  }

  async #authenticate(request: { name: string; password: string }): Promise<Answer> {
    const outcome = await settled(this.client.call(Auth.method.authenticate, request));
    if (!('value' in outcome)) return outcome;
    const { token } = outcome.value;
    this.tokens.set(request.name, [...(this.tokens.get(request.name) ?? []), token]);
    return { response: comparable(Auth.method.authenticate.output, outcome.value) };
  }

  #shown(as: Persona): Shown {
    if (as === 'nobody') return {};
    const [name, which] = as.split(':') as [string, string];
    const tokens = this.tokens.get(name) ?? [];
    const token = which === 'first' ? tokens[0] : tokens.at(-1);
    return { token: token ?? 'forged.1' };
  }
}

/** Our server and a real etcd, with the same users, roles and keys. */
export class Pair {
  readonly #netsy: Netsy;
  readonly #etcd: Etcd;
  readonly #sides: readonly [netsy: Side, etcd: Side];
  /** False once they have answered differently. */
  agree = true;

  private constructor(netsy: Netsy, etcd: Etcd) {
    this.#netsy = netsy;
    this.#etcd = etcd;
    this.#sides = [new Side(netsy.authority), new Side(new URL(etcd.endpoint).host)];
  }

  static async start(flags: readonly string[]): Promise<Pair> {
    const etcd = await startEtcd(temporaryDirectory(), flags);
    try {
      return new Pair(await startNetsy({ arguments: flags }), etcd);
    } catch (error) {
      await etcd.process.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const { client } of this.#sides) client.close();
    await Promise.all([this.#netsy.stop(), this.#etcd.process.stop()]);
  }

  async clear(): Promise<void> {
    await Promise.all(this.#sides.map((side) => side.clear()));
  }

  /** Makes a call on both, and throws when their answers differ; answers etcd's. */
  async check(operation: Operation): Promise<Answer> {
    const [ours, theirs] = await Promise.all(this.#sides.map((side) => side.ask(operation)));
    try {
      assert.deepEqual(ours, theirs);
    } catch (error) {
      this.agree = false;
      const [asked, got, wanted] = [operation, ours, theirs].map((one) => JSON.stringify(one, readable));
      throw new Error(`${asked}\n  netsy answers ${got}\n  etcd answers  ${wanted}`, { cause: error });
    }
    return theirs!;
  }
}

function readable(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
}
