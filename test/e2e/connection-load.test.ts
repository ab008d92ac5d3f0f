import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as http2Connect } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { encodeFrame, encodeSettings, FLAG, FRAME_TYPE, PREFACE } from '../../src/main/rpc/http2-frames.ts';
import { encodeInteger, encodeString } from '../../src/shared/base/hpack.ts';
import { KV, WatchRequestSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';

const CONNECTIONS = 5_000;
const STREAMS = 10_000;
const STREAMS_PER_CONNECTION = 100;
/** So many are being opened at a time. */
const AT_ONCE = 100;
/** Far above what was measured (see docs/security.md), far below what would fill a machine. */
const CONNECTION_BYTES_MAX = 200_000;
const STREAM_BYTES_MAX = 200_000;

/** The files that a process may have open; each connection is one on either side. */
function openFilesMax(): number {
  const text = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  return text === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(text);
}

function residentBytes({ pid }: Netsy): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** A connection whose first call was answered, and which says nothing more. By hand, to be light on this process. */
async function idleConnection(port: number): Promise<Socket> {
  const named = (index: number, value: string): Buffer[] => [encodeInteger(index, 4, 0), encodeString(value)];
  const block = Buffer.concat([
    Buffer.of(0x83, 0x86),
    ...named(4, '/grpc.health.v1.Health/Check'),
    ...named(1, 'localhost'),
    ...named(31, 'application/grpc'),
    ...[Buffer.of(0), encodeString('te'), encodeString('trailers')],
  ]);
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.write(
    Buffer.concat([
      ...[PREFACE, encodeSettings([])],
      encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, 1, block),
      encodeFrame(0, 1, 1, Buffer.alloc(5)),
    ]),
  );
  // HealthCheckResponse{status: SERVING}, as a gRPC message.
  let got = Buffer.alloc(0);
  while (!got.includes('\0\0\0\0\x02\x08\x01')) {
    got = Buffer.concat([got, ((await once(socket, 'data')) as [Buffer])[0]]);
  }
  socket.write(encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0)));
  return socket.on('error', () => {});
}

/** A watch of `key` that was created. */
async function watch(session: ClientHttp2Session, key: string): Promise<ClientHttp2Stream> {
  const value = { key: bytes(key) };
  const request = toBinary(
    WatchRequestSchema,
    create(WatchRequestSchema, { requestUnion: { case: 'createRequest', value } }),
  );
  const stream = session.request({
    ':method': 'POST',
    ':path': '/etcdserverpb.Watch/Watch',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const message = Buffer.alloc(5 + request.length);
  message.writeUInt32BE(request.length, 1);
  message.set(request, 5);
  stream.write(message);
  await once(stream, 'data');
  return stream.on('error', () => {});
}

async function inPortions<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let from = 0; from < count; from += AT_ONCE) {
    const portion = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => make(from + index));
    made.push(...(await Promise.all(portion)));
  }
  return made;
}

/** Each call must be answered, however many others are connected. */
async function isResponsive(client: EtcdClient): Promise<void> {
  for (let round = 0; round < 20; round++) {
    await client.call(KV.method.put, { key: bytes('responsive'), value: bytes(`${round}`) });
    const { kvs } = await client.call(KV.method.range, { key: bytes('responsive') });
    assert.equal(Buffer.from(kvs[0]?.value ?? []).toString(), `${round}`);
  }
}

const tooFewFiles = openFilesMax() < CONNECTIONS + 500 ? 'needs more open files (ulimit -n)' : false;
const noProc = process.platform !== 'linux' && 'reads /proc';

describe('many clients', { timeout: 180_000, skip: tooFewFiles || noProc }, () => {
  it(`${CONNECTIONS} idle connections and ${STREAMS} watch streams cost bounded memory, and others are served`, async (test) => {
    const netsy = await startNetsy();
    const port = Number(new URL(netsy.endpoint).port);
    const client = new EtcdClient(netsy.authority);
    await isResponsive(client);
    const began = residentBytes(netsy);

    const idle = await inPortions(CONNECTIONS, () => idleConnection(port));
    await isResponsive(client);
    const connected = residentBytes(netsy);

    const sessions = Array.from({ length: STREAMS / STREAMS_PER_CONNECTION }, () =>
      http2Connect(netsy.endpoint).on('error', () => {}),
    );
    let events = 0;
    const streams = await inPortions(STREAMS, async (index) => {
      const session = sessions[index % sessions.length] as ClientHttp2Session;
      const stream = await watch(session, index % 10 === 0 ? 'shared' : `own-${index}`);
      return stream.on('data', () => events++);
    });
    await isResponsive(client);
    const watching = residentBytes(netsy);

    await client.call(KV.method.put, { key: bytes('shared') });
    await client.call(KV.method.put, { key: bytes('own-1') });
    while (events < STREAMS / 10 + 1) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(events, STREAMS / 10 + 1);
    assert.equal(streams.filter((stream) => stream.closed).length, 0);
    assert.equal(idle.filter((socket) => socket.closed).length, 0);

    const perConnection = Math.round((connected - began) / CONNECTIONS);
    const perStream = Math.round((watching - connected) / STREAMS);
    const megabytes = (count: number): string => `${Math.round(count / 1e6)} MB`;
    test.diagnostic(
      `resident: ${megabytes(began)}, connected ${megabytes(connected)}, watching ${megabytes(watching)}: ` +
        `${perConnection} bytes per idle connection, ${perStream} per watch stream`,
    );
    assert.ok(perConnection < CONNECTION_BYTES_MAX, `${perConnection} bytes per connection`);
    assert.ok(perStream < STREAM_BYTES_MAX, `${perStream} bytes per stream`);

    for (const session of sessions) session.destroy();
    for (const socket of idle) socket.destroy();
    await isResponsive(client);
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
  });
});
