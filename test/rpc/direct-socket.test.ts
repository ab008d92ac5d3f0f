import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type ClientHttp2Session, connect as http2Connect, type OutgoingHttpHeaders } from 'node:http2';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { encodeFrame, encodeIntegerFrame, FLAG, FRAME_TYPE } from '../../src/main/rpc/http2-frames.ts';
import type { UnaryMethod } from '../../src/main/rpc/service.ts';
import { callFailure } from '../../src/main/rpc/status.ts';
import { ownsMemory } from '../../src/shared/base/own-memory.ts';
import { MalformedMessageError } from '../../src/shared/etcd/wire.ts';
import { eventually } from '../kube/parallel.ts';
import { closing, echoes, Front, openStream, plain, RANGE, withClient } from '../support/front.ts';
import { block, data, exchange, type Fields, headers, message } from './raw-http2.ts';

const HELLO = Buffer.from('hello');
const SLOW_MS = 300;
/** How many calls came to the method without grpc-js. */
let direct = 0;

const echo: UnaryMethod = (request, _call, answer) => {
  direct++;
  if (request.toString() === 'malformed') answer(callFailure(new MalformedMessageError('field 0')));
  else if (request.toString() === 'slow') setTimeout(() => answer(null, request), SLOW_MS);
  else answer(null, request);
};

function newFront(unary?: ReadonlyMap<string, UnaryMethod>): Front {
  return new Front(undefined, undefined, {}, unary && { unary, streams: new Map() });
}

async function withFronts(body: (fast: Front, plainly: Front) => Promise<void>): Promise<void> {
  const fronts = [newFront(new Map([[RANGE, echo]])), newFront()] as const;
  for (const front of fronts) await front.listener.listen();
  try {
    await body(...fronts);
  } finally {
    for (const front of fronts) await front.listener.close(0);
  }
}

const BASE: Fields = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', RANGE],
  [':authority', 'a:1'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];

function but(name: string, value?: string): Fields {
  const others = BASE.filter(([other]) => other !== name);
  if (value === undefined) return others;
  const at = BASE.findIndex(([other]) => other === name);
  return at < 0 ? [...BASE, [name, value]] : BASE.map((field) => (field[0] === name ? [name, value] : field));
}

function call(fields: Fields, body: Buffer = message(HELLO)): Buffer[] {
  return [headers(1, fields), data(1, body)];
}

const padded = Buffer.concat([Buffer.of(3), message(HELLO), Buffer.alloc(3)]);
const cut = 20;
const whole = block(BASE);

/** What a client may send, and whether it is answered without grpc-js. */
const REQUESTS: Record<string, readonly [frames: Buffer[], direct: number]> = {
  plain: [call(BASE), 1],
  'of an empty message': [call(BASE, message(Buffer.alloc(0))), 1],
  'in pieces': [
    [
      headers(1, BASE),
      ...[...message(HELLO)].map((byte) => data(1, Buffer.of(byte), 0)),
      data(1, Buffer.alloc(0)),
    ],
    1,
  ],
  'whose method fails': [call(BASE, message(Buffer.from('malformed'))), 1],
  'with a time-out that is kept': [call(but('grpc-timeout', '5S')), 1],
  'with a time-out of nothing': [[headers(1, but('grpc-timeout', '1n'))], 0],
  'with a time-out that is none': [call(but('grpc-timeout', 'soon')), 0],
  'with metadata': [call(but('token', 'a b')), 1],
  'with priority': [
    [
      encodeFrame(
        FRAME_TYPE.headers,
        FLAG.endHeaders | FLAG.priority,
        1,
        Buffer.concat([Buffer.from('0000000010', 'hex'), whole]),
      ),
      data(1, message(HELLO)),
    ],
    1,
  ],
  'with its headers in two frames': [
    [
      encodeFrame(FRAME_TYPE.headers, 0, 1, whole.subarray(0, cut)),
      encodeFrame(FRAME_TYPE.continuation, FLAG.endHeaders, 1, whole.subarray(cut)),
      data(1, message(HELLO)),
    ],
    1,
  ],
  'taken back': [
    [...call(BASE, message(Buffer.from('slow'))), encodeIntegerFrame(FRAME_TYPE.resetStream, 1, 8)],
    1,
  ],
  padded: [[headers(1, BASE), data(1, padded, FLAG.endStream | FLAG.padded)], 0],
  'with trailers': [
    [
      headers(1, BASE),
      data(1, message(HELLO), 0),
      headers(1, [['x', 'y']], FLAG.endHeaders | FLAG.endStream),
    ],
    0,
  ],
  large: [[headers(1, BASE), ...frames(message(Buffer.alloc(50_000, 'x')))], 0],
  'too large': [[headers(1, BASE), ...frames(message(Buffer.alloc(64_900, 'x')))], 0],
  'that says it is too large': [call(BASE, Buffer.from('0001000000', 'hex')), 0],
  'without a message': [[headers(1, BASE, FLAG.endHeaders | FLAG.endStream)], 0],
  'of no bytes': [call(BASE, Buffer.alloc(0)), 0],
  'of two messages': [call(BASE, Buffer.concat([message(HELLO), message(HELLO)])), 0],
  'of half a message': [call(BASE, message(HELLO).subarray(0, 7)), 0],
  'of half a prefix': [call(BASE, message(HELLO).subarray(0, 3)), 0],
  compressed: [call(but('grpc-encoding', 'gzip'), message(gzipSync(HELLO), 1)), 0],
  'compressed in an unknown way': [call(but('grpc-encoding', 'x'), message(HELLO, 1)), 0],
  'compressed without saying how': [call(BASE, message(gzipSync(HELLO), 1)), 0],
  'that says it is not compressed': [call(but('grpc-encoding', 'identity')), 0],
  'of another content type': [call(but('content-type', 'text/plain')), 0],
  'of another content type of gRPC': [call(but('content-type', 'application/grpc+json')), 0],
  'of no content type': [call(but('content-type')), 0],
  'without te': [call(but('te')), 1],
  'of another te': [call(but('te', 'gzip')), 0],
  'with GET': [call(but(':method', 'GET')), 0],
  'of an unknown method': [call(but(':path', '/x/y')), 0],
  'without authority': [call(but(':authority')), 0],
  'with bytes as metadata': [call(but('x-bin', 'AAA=')), 0],
  'with a name in upper case': [call(but('X', 'y')), 0],
  'with a header of connections': [call(but('connection', 'close')), 0],
  'with a content length': [call(but('content-length', '10')), 0],
  'with a wrong content length': [call(but('content-length', '3')), 0],
  'with the same field twice': [call([...BASE, ['a', '1'], ['a', '2']]), 0],
  'with a pseudo header too late': [call([...BASE.slice(1), ...BASE.slice(0, 1)]), 0],
  'on an even stream': [[headers(2, BASE), data(2, message(HELLO))], 0],
  'of DATA alone': [[data(1, message(HELLO))], 0],
  'with no window to add': [[headers(1, BASE), encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, 0)], 0],
  'with HPACK that refers to nothing': [
    [encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, 1, Buffer.of(0xff, 0x20))],
    0,
  ],
  'interrupted in its headers': [[headers(1, BASE, 0), data(1, message(HELLO))], 0],
};

function frames(bytes: Buffer): Buffer[] {
  const cuts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    const last = at + 16_384 >= bytes.length;
    cuts.push(data(1, bytes.subarray(at, at + 16_384), last ? FLAG.endStream : 0));
  }
  return cuts;
}

describe('unary calls beside grpc-js', { timeout: 120_000 }, () => {
  it('are answered as by grpc-js, however odd the request', async () => {
    await withFronts(async (fast, plainly) => {
      for (const [name, [sent, expected]] of Object.entries(REQUESTS)) {
        const before = direct;
        const copies = sent.map((frame) => Buffer.from(frame));
        const [ours, theirs] = await Promise.all([exchange(fast.port, sent), exchange(plainly.port, copies)]);
        assert.deepEqual(ours, theirs, `a request ${name}`);
        assert.equal(direct - before, expected, `a request ${name} is for the other`);
      }
    });
  });

  it('fail when their deadline passes, and a late answer goes nowhere', async () => {
    await withFronts(async (fast) => {
      const slow = message(Buffer.from('slow'));
      const { streams } = await exchange(fast.port, call(but('grpc-timeout', '20m'), slow));
      assert.deepEqual(streams[1]?.fields.slice(-2), ['grpc-message: Deadline%20exceeded', 'grpc-status: 4']);
      assert.equal(streams[1]?.body, '');
    });
  });

  it('have the metadata that was sent, whatever was indexed before', async () => {
    const seen: UnaryMethod = (_request, { metadata }, answer) =>
      answer(null, Buffer.from(JSON.stringify(metadata.getMap())));
    const front = newFront(new Map([[RANGE, seen]]));
    await front.listener.listen();
    const name = fc.constantFrom('a', 'token', 'x-long-name', 'user-agent');
    const value = fc.oneof(fc.constantFrom('1', '~|{}'), fc.base64String({ minLength: 1, maxLength: 900 }));
    const property = fc.asyncProperty(
      fc.array(fc.dictionary(name, value), { minLength: 1, maxLength: 25 }),
      async (requests) => {
        const session = http2Connect(front.url);
        for (const sent of requests) {
          const body = await unary(session, HELLO, sent);
          assert.deepEqual(JSON.parse(body.subarray(5).toString()), { ...sent });
        }
        session.destroy();
      },
    );
    await fc.assert(property, { numRuns: 20 });
    await front.listener.close(0);
  });

  it('share the windows of a slow client with the streams of grpc-js, and nothing is lost', async () => {
    await withFronts(async (fast) => {
      const session = http2Connect(fast.url, { settings: { initialWindowSize: 3_000 } });
      const stream = openStream(session);
      let streamed = 0;
      stream.on('data', (bytes: Buffer) => {
        streamed += bytes.length;
      });
      const sizes = Array.from({ length: 120 }, (_, index) => (index * 7_919) % 31_000);
      const calls = sizes.map(async (size) => {
        stream.write(message(Buffer.alloc(2_000, 'y')));
        assert.equal((await unary(session, Buffer.alloc(size, 'x'))).length, size + 5);
      });
      await Promise.all(calls);
      stream.end();
      await closing(stream);
      assert.equal(streamed, 5 + 'open'.length + sizes.length * 2_005);
      session.destroy();
    });
  });

  it('have their memory freed when all is sent, and not before, if it is theirs alone', async () => {
    const expected = randomBytes(600_000);
    const responses = { own: Buffer.from(expected), shared: Buffer.from(expected) };
    ownsMemory(responses.own);
    const answer: UnaryMethod = (request, _call, answered) =>
      answered(null, responses[request.toString() as keyof typeof responses]);
    const front = newFront(new Map([[RANGE, answer]]));
    await front.listener.listen();
    const session = http2Connect(front.url, { settings: { initialWindowSize: 0 } });
    const calls = [unary(session, Buffer.from('shared')), unary(session, Buffer.from('own'))];
    await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    for (const response of Object.values(responses)) assert.deepEqual(response, expected);
    session.settings({ initialWindowSize: 2 ** 16 });
    for (const bytes of await Promise.all(calls)) assert.deepEqual(bytes.subarray(5), expected);
    await eventually('it is not freed', 5_000, async () => responses.own.length === 0 || undefined, 5);
    assert.deepEqual(responses.shared, expected);
    session.destroy();
    await front.listener.close(0);
  });

  it("come to clients with a small table of headers, or none, whose other calls are node's", async () => {
    for (const headerTableSize of [0, 1, 60, 1_000]) {
      await withFronts(async (fast) => {
        const session = http2Connect(fast.url, { settings: { headerTableSize } });
        const before = direct;
        for (let index = 0; index < 30; index++) {
          const isPlain = index % 3 !== 1;
          await unary(session, HELLO, { [isPlain ? 'x-plain' : 'x-odd-bin']: 'YQ' });
          await assert.rejects(unary(session, Buffer.from('malformed')));
        }
        assert.equal(direct - before, 50, `a table of ${headerTableSize}`);
        session.destroy();
      });
    }
  });

  it('are waited for when the server stops, and their client is told that they were begun', async () => {
    await withFronts(async (fast) => {
      const session = http2Connect(fast.url);
      const answer = unary(session, Buffer.from('slow'));
      let lastStream: number | undefined;
      session.on('goaway', (_code, last: number) => {
        lastStream = last;
      });
      await new Promise((resolve) => setTimeout(resolve, SLOW_MS / 3));
      const closed = fast.listener.close(10_000);
      assert.equal((await answer).subarray(5).toString(), 'slow');
      await closed;
      assert.ok(lastStream !== undefined && lastStream >= 1, `GOAWAY says ${lastStream}`);
    });
  });

  it('serve grpc-js clients', async () => {
    await withFronts(async (fast) => {
      const before = direct;
      await withClient(fast.authority, plain, async (client) => {
        for (let index = 0; index < 50; index++) await echoes(client);
      });
      assert.equal(direct - before, 50);
    });
  });
});

/** The response's bytes, with their prefix. */
function unary(
  session: ClientHttp2Session,
  request: Buffer,
  metadata: OutgoingHttpHeaders = {},
): Promise<Buffer> {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': RANGE, 'content-type': 'application/grpc', te: 'trailers' },
    ...metadata,
  });
  const pieces: Buffer[] = [];
  let status: unknown;
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  stream.on('trailers', (trailers) => {
    status = trailers['grpc-status'];
  });
  stream.end(message(request));
  return new Promise((resolve, reject) => {
    stream.on('error', reject);
    stream.on('close', () => {
      if (Number(status) === 0) resolve(Buffer.concat(pieces));
      else reject(new Error(`status ${String(status)}`));
    });
  });
}
