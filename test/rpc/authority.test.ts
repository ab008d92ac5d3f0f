import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  createServer as createHttp2Server,
  connect as http2Connect,
  type IncomingHttpHeaders,
} from 'node:http2';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AuthorityStream, withoutUrl } from '../../src/main/rpc/authority.ts';
import { encodeFrame, FLAG, FRAME_TYPE } from '../../src/main/rpc/http2-frames.ts';
import { Opening } from '../../src/main/rpc/opening.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { encodeInteger, encodeString } from '../../src/shared/base/hpack.ts';

const AUTHORITIES: Record<string, string> = {
  'http://127.0.0.1:2379': '127.0.0.1:2379',
  'https://etcd.example:2379/': 'etcd.example:2379',
  'HTTP://[::1]:2379/path?query#part': '[::1]:2379',
  'host/path': 'host',
  [`http://${'long-name.'.repeat(20)}example:1`]: `${'long-name.'.repeat(20)}example:1`,
  [`http://x/${'y'.repeat(5000)}`]: 'x',
  'plain:2379': 'plain:2379',
};

/** An HTTP/2 server behind `Opening` that answers every request with the headers that it got. */
async function withMirror(
  headerTableSize: number,
  body: (connectTo: () => ClientHttp2Session) => Promise<void>,
): Promise<void> {
  const http2 = createHttp2Server({ settings: { headerTableSize } });
  http2.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(JSON.stringify(headers));
  });
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    const handOver = (connection: NodeJS.EventEmitter): void => void http2.emit('connection', connection);
    new Opening(socket, {
      clock: systemClock,
      maxConcurrentStreams: undefined,
      timeoutMs: 30_000,
      handOver,
    }).start();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const session = (): ClientHttp2Session =>
    http2Connect('http://mirror', { createConnection: () => connect(port, '127.0.0.1') });
  try {
    await body(session);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

async function headersSeen(session: ClientHttp2Session, headers: IncomingHttpHeaders): Promise<unknown> {
  const stream = session.request({ ':path': '/', ...headers });
  let text = '';
  for await (const piece of stream) text += String(piece);
  const { ':method': _method, ':path': _path, ':scheme': _scheme, ...seen } = JSON.parse(text);
  return seen;
}

/** `:authority` as a literal: the first byte tells the kind, the name's index is 1. */
function literal(prefixBits: number, flags: number, value: string): Buffer {
  return Buffer.concat([encodeInteger(1, prefixBits, flags), encodeString(value)]);
}

describe('URLs as :authority', { timeout: 60_000 }, () => {
  it('reach the server as hosts, and all other headers unchanged, whatever was indexed before', async () => {
    const name = fc.constantFrom('a', 'b', 'x-long-name', 'grpc-timeout', 'user-agent');
    const value = fc.oneof(fc.constantFrom('', '1', 'http://a/b'), fc.base64String({ maxLength: 300 }));
    const authority = fc.constantFrom(...Object.keys(AUTHORITIES));
    const request = fc.record({ ':authority': authority, headers: fc.dictionary(name, value) });
    const property = fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 30 }),
      fc.constantFrom('http://127.0.0.1:2379', 'plain:2379'),
      fc.constantFrom(0, 100, 4096),
      async (requests, first, headerTableSize) => {
        await withMirror(headerTableSize, async (connectTo) => {
          const session = connectTo();
          await headersSeen(session, { ':authority': first });
          for (const { ':authority': sent, headers } of requests) {
            // Only a connection whose first request has a URL is rewritten.
            if (first === 'plain:2379' && sent.includes('/')) continue;
            const seen = await headersSeen(session, { ...headers, ':authority': sent });
            assert.deepEqual(seen, { ...headers, ':authority': AUTHORITIES[sent] });
          }
          session.destroy();
        });
      },
    );
    await fc.assert(property, { numRuns: 25 });
  });

  it('are found in every kind of literal, and keep that kind', () => {
    const url = 'http://h:1/';
    for (const [bits, flags] of [
      [6, 0x40],
      [4, 0x00],
      [4, 0x10],
    ] as const) {
      const rest = Buffer.from([0x83, 0x20, 0x86]);
      const block = Buffer.concat([rest, literal(bits, flags, url), rest]);
      assert.deepEqual(withoutUrl(block), Buffer.concat([rest, literal(bits, flags, 'h:1'), rest]));
      const named = [Buffer.of(flags), encodeString(':authority'), encodeString(url)];
      assert.deepEqual(withoutUrl(Buffer.concat(named)), literal(bits, flags, 'h:1'));
    }
    // The name and `http://hi` in Huffman code.
    const huffman = Buffer.from('4088b83b5339ec327d7f879d29aee30c4e6f', 'hex');
    assert.deepEqual(withoutUrl(huffman), literal(6, 0x40, 'hi'));
  });

  it('are left where there is no host in them', () => {
    for (const value of ['', '/', 'http://', 'http:///x', 'a:1']) {
      const block = literal(6, 0x40, value);
      assert.equal(withoutUrl(block), block);
    }
  });

  it('are replaced alike however frames are cut into pieces and blocks into frames', () => {
    const block = Buffer.concat([Buffer.of(0x83), literal(6, 0x40, 'http://host:1'), Buffer.of(0x86)]);
    const short = Buffer.concat([Buffer.of(0x83), literal(6, 0x40, 'host:1'), Buffer.of(0x86)]);
    const priority = Buffer.from('0000000510', 'hex');
    const padded = Buffer.concat([Buffer.of(3), priority, block.subarray(0, 5), Buffer.alloc(3)]);
    const flags = FLAG.padded | FLAG.priority | 1;
    const data = encodeFrame(0, 0, 1, Buffer.from('http://host:1'));
    const sent = Buffer.concat([
      data,
      encodeFrame(FRAME_TYPE.headers, flags, 7, padded),
      encodeFrame(FRAME_TYPE.continuation, 0, 7, block.subarray(5, 5)),
      encodeFrame(FRAME_TYPE.continuation, FLAG.endHeaders, 7, block.subarray(5)),
      data,
    ]);
    const kept = FLAG.priority | FLAG.endHeaders | 1;
    const headers = encodeFrame(FRAME_TYPE.headers, kept, 7, Buffer.concat([priority, short]));
    const wanted = Buffer.concat([data, headers, data]);
    for (let size = 1; size <= sent.length; size++) {
      const stream = new AuthorityStream();
      const out: Buffer[] = [];
      for (let at = 0; at < sent.length; at += size) out.push(stream.push(sent.subarray(at, at + size)));
      assert.deepEqual(Buffer.concat(out), wanted);
    }
  });

  it('are replaced in a block that needs more than one frame', () => {
    const large = Buffer.concat([Buffer.of(0x00), encodeString('x'), encodeString('y'.repeat(40_000))]);
    const block = Buffer.concat([literal(6, 0x40, 'http://h/'), large]);
    const frames: Buffer[] = [];
    for (let at = 0; at < block.length; at += 16_384) {
      const type = at === 0 ? FRAME_TYPE.headers : FRAME_TYPE.continuation;
      const last = at + 16_384 >= block.length;
      frames.push(encodeFrame(type, last ? FLAG.endHeaders : 0, 1, block.subarray(at, at + 16_384)));
    }
    const out = new AuthorityStream().push(Buffer.concat(frames));
    const payloads: Buffer[] = [];
    for (let at = 0; at < out.length; at += 9 + out.readUIntBE(at, 3)) {
      assert.equal(out[at + 3], at === 0 ? FRAME_TYPE.headers : FRAME_TYPE.continuation);
      payloads.push(out.subarray(at + 9, at + 9 + out.readUIntBE(at, 3)));
    }
    assert.deepEqual(Buffer.concat(payloads), Buffer.concat([literal(6, 0x40, 'h'), large]));
  });

  it('never make the rewriter throw, lose or reorder bytes, whatever frames come', () => {
    const frame = fc
      .tuple(fc.nat(10), fc.nat(255), fc.nat(3), fc.uint8Array({ maxLength: 40 }))
      .map(([type, flags, stream, payload]) => encodeFrame(type, flags, stream, payload));
    const noUrl = fc.oneof(frame, fc.uint8Array({ maxLength: 30 }).map(Buffer.from));
    const property = fc.property(fc.array(noUrl, { maxLength: 12 }), (pieces) => {
      const stream = new AuthorityStream();
      const sent = Buffer.concat(pieces);
      const out = Buffer.concat(pieces.map((piece) => stream.push(piece)));
      // Random bytes hold no URL, so what came out is what went in, up to a frame or block that is not whole.
      assert.deepEqual(out, sent.subarray(0, out.length));
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
