import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { Metrics } from '../../src/main/ops/metrics.ts';
import { HealthService } from '../../src/main/rpc/health.ts';
import { addService } from '../../src/main/rpc/service.ts';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from '../../src/shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { ManualClock } from '../support/clock.ts';
import { EtcdClient, failureOf } from '../support/etcd-client.ts';

type Call = grpc.ClientReadableStream<Buffer>;

interface World {
  clock: ManualClock;
  health: HealthService;
  client: EtcdClient;
  /** Why the server is not healthy; undefined when it is. */
  trouble: string | undefined;
  watch(service?: string): Call;
}

async function withHealth(body: (world: World) => Promise<void>): Promise<void> {
  const clock = new ManualClock();
  const server = new grpc.Server();
  const health = new HealthService(clock, () => world.trouble);
  addService(server, Health, Promise.resolve(health.handlers), (...of) => new Metrics().calls(...of));
  const port = await new Promise<number>((resolve, reject) => {
    const bound = (error: Error | null, port: number): void => (error ? reject(error) : resolve(port));
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), bound);
  });
  const client = new EtcdClient(`127.0.0.1:${port}`);
  const raw = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  const watch = (service = ''): Call => {
    const request = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
    return raw.makeServerStreamRequest('/grpc.health.v1.Health/Watch', same, same, Buffer.from(request));
  };
  const world: World = { clock, health, client, trouble: undefined, watch };
  try {
    await body(world);
  } finally {
    client.close();
    raw.close();
    server.forceShutdown();
  }
}

async function next(call: Call): Promise<Status> {
  const [bytes] = (await once(call, 'data')) as [Buffer];
  return fromBinary(HealthCheckResponseSchema, bytes).status;
}

test('Check and List follow the health of the server', async () => {
  await withHealth(async (world) => {
    const check = async (): Promise<Status> => (await world.client.call(Health.method.check, {})).status;
    assert.equal(await check(), Status.SERVING);
    world.trouble = 'recovering';
    assert.equal(await check(), Status.NOT_SERVING);
    const { statuses } = await world.client.call(Health.method.list, {});
    assert.equal(statuses['']?.status, Status.NOT_SERVING);
    world.trouble = undefined;
    assert.equal(await check(), Status.SERVING);
    world.health.stop();
    assert.equal(await check(), Status.NOT_SERVING);
  });
});

test('Watch says each change within a second, nothing in between, and the end', async () => {
  await withHealth(async (world) => {
    const call = world.watch();
    assert.equal(await next(call), Status.SERVING);
    world.clock.advance(5_000);
    world.trouble = 'store is away';
    world.clock.advance(1_000);
    assert.equal(await next(call), Status.NOT_SERVING);
    world.trouble = undefined;
    world.clock.advance(1_000);
    assert.equal(await next(call), Status.SERVING);
    const failed = once(call, 'error') as Promise<[grpc.ServiceError]>;
    const last = next(call);
    world.health.stop();
    assert.equal(await last, Status.NOT_SERVING);
    assert.equal((await failed)[0].details, 'etcdserver: server stopped');
  });
});

test('a service that is not known stays unknown, and a name that is no text is refused', async () => {
  await withHealth(async (world) => {
    const call = world.watch('etcdserverpb.KV');
    assert.equal(await next(call), Status.SERVICE_UNKNOWN);
    call.on('error', () => {});
    call.cancel();
    const notText = Uint8Array.of(10, 1, 0xff);
    assert.equal((await failureOf(world.client.callBytes(Health.method.check, notText))).code, 13);
    assert.equal((await failureOf(world.client.collectBytes(Health.method.watch, notText))).code, 13);
  });
});
