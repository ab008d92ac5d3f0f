import assert from 'node:assert/strict';
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { CallError, Connection } from '../../bench/grpc/connection.ts';

const asIs = (value: Buffer): Buffer => value;
const unary = (path: string) => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});

let server: Server;
let port: number;

before(async () => {
  server = new Server();
  server.addService(
    { echo: unary('/t/echo'), refuse: unary('/t/refuse') },
    {
      echo: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) =>
        done(null, Buffer.concat(Array.from({ length: 100 }, () => call.request))),
      refuse: (call: { request: Buffer }, done: (error: object) => void) =>
        done({ code: status.OUT_OF_RANGE, details: call.request.toString() }),
    },
  );
  port = await new Promise((resolve, reject) => {
    const listening = (error: Error | null, bound: number): void => (error ? reject(error) : resolve(bound));
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), listening);
  });
});
after(() => server.forceShutdown());

function call(connection: Connection, method: string, message: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    connection.unary(method, message, (error, answer) => {
      if (error) reject(error);
      else resolve(Buffer.from(answer));
    });
  });
}

test('answers of many frames, more than the windows hold, come back whole from grpc-js', async () => {
  const connection = await Connection.open('127.0.0.1', port);
  const messages = Array.from({ length: 300 }, (_, index) => Buffer.alloc(1 + index * 20, index));
  const answers = await Promise.all(messages.map((message) => call(connection, '/t/echo', message)));
  answers.forEach((answer, index) => {
    const sent = messages[index]!;
    assert.equal(answer.length, sent.length * 100);
    assert.ok(answer.subarray(-sent.length).equals(sent));
  });
  assert.equal(connection.pending, 0);
  connection.close();
});

test("a refusal carries grpc's code and text, with the characters that gRPC escapes", async () => {
  const connection = await Connection.open('127.0.0.1', port);
  const text = 'etcdserver: mvcc: required revision "7" has been compacted, 100 % [~{|}^`<>]';
  const expected = (error: unknown): boolean =>
    error instanceof CallError && error.code === status.OUT_OF_RANGE && error.message === text;
  await assert.rejects(call(connection, '/t/refuse', Buffer.from(text)), expected);
  const unknown = (error: unknown): boolean =>
    error instanceof CallError && error.code === status.UNIMPLEMENTED;
  await assert.rejects(call(connection, '/t/none', Buffer.from(text)), unknown);
  connection.close();
});

/** An HTTP/2 server that does what `onStream` says; closed by the test. */
async function plainServer(
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
): Promise<{ plain: Http2Server; plainPort: number }> {
  const plain = createServer({ settings: { maxConcurrentStreams: 2 } });
  plain.on('stream', onStream);
  plain.on('sessionError', () => {});
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  return { plain, plainPort: (plain.address() as AddressInfo).port };
}

test('a server that allows two streams at once never sees more, and every call is answered in order', async () => {
  let open = 0;
  let most = 0;
  const { plain, plainPort } = await plainServer((stream) => {
    most = Math.max(most, ++open);
    stream.on('close', () => open--);
    stream.on('end', () => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.of(0, 0, 0, 0, 1, 42));
    });
    stream.resume();
  });
  const connection = await Connection.open('127.0.0.1', plainPort);
  const order: number[] = [];
  const calls = Array.from({ length: 50 }, (_, index) =>
    call(connection, '/t/m', Buffer.alloc(3000)).then((answer) => {
      assert.deepEqual([...answer], [42]);
      order.push(index);
    }),
  );
  await Promise.all(calls);
  assert.equal(order.length, 50);
  assert.ok(most <= 2, `${most} at once`);
  connection.close();
  plain.close();
});

test("every printable character of a refusal's text is read from HPACK's Huffman code", async () => {
  const characters = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index));
  const { plain, plainPort } = await plainServer((stream, headers) => {
    const character = characters[Number(headers[':path']?.slice(3))]!;
    // Among so many zeros, which take five bits each, Huffman's is always the shorter form.
    const text = `${'0'.repeat(40)}${character === '%' ? '%25' : character}0`;
    stream.respond({ ':status': 200, 'grpc-status': '2', 'grpc-message': text }, { endStream: true });
  });
  const connection = await Connection.open('127.0.0.1', plainPort);
  const texts = await Promise.all(
    characters.map((_, index) =>
      call(connection, `/t/${index}`, Buffer.of(1)).catch((error: Error) => error.message.slice(40, -1)),
    ),
  );
  assert.deepEqual(texts, characters);
  connection.close();
  plain.close();
});

test('a connection that breaks fails each of its calls once, and those that come after', async () => {
  const { plain, plainPort } = await plainServer((stream) => stream.session?.destroy());
  const connection = await Connection.open('127.0.0.1', plainPort);
  const calls = [1, 2, 3].map(() => call(connection, '/t/m', Buffer.of(1)));
  const results = await Promise.allSettled(calls);
  assert.deepEqual(
    results.map((result) => result.status),
    ['rejected', 'rejected', 'rejected'],
  );
  await assert.rejects(call(connection, '/t/m', Buffer.of(1)), CallError);
  plain.close();
});
