import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import {
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
  RangeRequestSchema,
  Watch,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Health } from '../../src/shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../src/shared/etcd/gen/grpc/reflection/v1/reflection_pb.ts';
import { Election } from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { Both, comparable } from '../concurrency/both.ts';
import { failureOf, settled } from '../support/etcd-client.ts';
import { requireTool } from '../support/go-tools.ts';
import { missingTools } from '../support/tools.ts';

const run = promisify(execFile);
const SERVICES = [Auth, Cluster, KV, Lease, Maintenance, Watch, Health, Election, Lock, ServerReflection];

describe('gRPC health and reflection', { timeout: 300_000, skip: missingTools('go') }, () => {
  const both = new Both();
  let grpcurl: string;

  before(async () => {
    grpcurl = await requireTool('grpcurl');
  });

  async function asks(words: string[], flags: string[] = []): Promise<string> {
    const { authority } = both.peers[0]!;
    return (await run(grpcurl, ['-plaintext', ...flags, authority, ...words])).stdout;
  }

  it('Check, List and Watch answer as etcd does', async () => {
    await both.see(async ({ client }) => {
      const seen = [];
      for (const service of ['', 'etcdserverpb.KV']) {
        const outcome = await settled(client.call(Health.method.check, { service }));
        seen.push(comparable(Health.method.check.output, outcome));
        const watch = client.read(Health.method.watch, { service });
        seen.push((await watch.next())?.status);
        watch.cancel();
      }
      const listed = await settled(client.call(Health.method.list, {}));
      return [...seen, comparable(Health.method.list.output, listed)];
    });
  });

  it('grpcurl finds every service, method and message by reflection, and calls them', async () => {
    const services = SERVICES.map(({ typeName }) => typeName).sort();
    assert.deepEqual((await asks(['list'])).trim().split('\n').sort(), services);
    const described = await asks(['describe']);
    for (const { name } of SERVICES.flatMap(({ methods }) => methods)) {
      assert.match(described, new RegExp(`rpc ${name} \\(`));
    }
    const message = await asks(['describe', 'etcdserverpb.RangeRequest']);
    for (const { name } of RangeRequestSchema.fields) assert.match(message, new RegExp(`\\b${name} = `));
    assert.match(await asks(['describe', 'mvccpb.Event']), /EventType type = 1/);
    assert.match(await asks(['describe', 'v3electionpb.Election.Observe']), /is a method/);
    assert.match(await asks(['describe', 'etcdserverpb.RangeRequest.limit']), /is a field/);
    assert.match(await asks(['describe', 'mvccpb.Event.EventType']), /DELETE = 1/);
    await assert.rejects(asks(['describe', 'etcdserverpb.Nothing']), /not found/);

    await asks(['etcdserverpb.KV/Put'], ['-d', '{"key":"a2V5","value":"dmFsdWU="}']);
    const read = await asks(['etcdserverpb.KV/Range'], ['-d', '{"key":"a2V5"}']);
    assert.match(read, /"value": "dmFsdWU="/);
    await assert.rejects(asks(['v3lockpb.Lock/Unlock'], ['-d', '{}']), /etcdserver: key is not provided/);
  });

  it('reflection is there under its old name too; etcd has none under either', async () => {
    const listServices = Uint8Array.of(7 * 8 + 2, 0);
    for (const version of ['v1', 'v1alpha']) {
      const method = {
        name: 'ServerReflectionInfo',
        parent: { typeName: `grpc.reflection.${version}.ServerReflection` },
      };
      const [ours, theirs] = both.peers;
      const [answer] = await ours!.client.exchangeBytes(method, [listServices]);
      assert.match(answer?.toString('latin1') ?? '', /etcdserverpb\.KV/);
      assert.equal((await failureOf(theirs!.client.exchangeBytes(method, [listServices]))).code, 12);
      const garbage = ours!.client.exchangeBytes(method, [Uint8Array.of(10, 99)]);
      assert.equal((await failureOf(garbage)).code, 13);
    }
  });
});
