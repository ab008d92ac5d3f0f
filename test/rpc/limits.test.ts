import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, constants, connect as http2Connect } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  encodeFrame,
  encodeHeaders,
  encodeSettings,
  FLAG,
  FRAME_TYPE,
  type Frame,
  FrameCutter,
  PREFACE,
} from '../../src/main/rpc/http2-frames.ts';
import { encodeInteger, encodeString } from '../../src/shared/base/hpack.ts';
import { makeCertificates } from '../support/certificates.ts';
import { ManualClock } from '../support/clock.ts';
import {
  closing,
  echoes,
  type Front,
  openStream,
  plain,
  RANGE,
  withClient,
  withFront,
} from '../support/front.ts';
import { missingTools } from '../support/tools.ts';

/** Short enough for a test, long enough for a busy machine's honest clients. */
const SHORT_MS = 400;
const SHORT = { handshakeMs: SHORT_MS, requestReadMs: SHORT_MS };
const HELLO = Buffer.concat([PREFACE, encodeSettings([])]);
const ACK = encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0));
const NOTHING = Buffer.alloc(0);
const DATA = 0;
const RST_STREAM = 3;

/** Fields of a request to `path`, and what else is to be among them. */
function fields(path: string, ...more: Buffer[]): Buffer {
  const named = (index: number, value: string): Buffer[] => [encodeInteger(index, 4, 0), encodeString(value)];
  return Buffer.concat([
    Buffer.of(0x83, 0x86),
    ...named(4, path),
    ...named(1, 'localhost'),
    ...named(31, 'application/grpc'),
    ...[Buffer.of(0), encodeString('te'), encodeString('trailers'), ...more],
  ]);
}

function headers(stream: number, path = RANGE): Buffer {
  return encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, stream, fields(path));
}

function socketTo(front: Front): Socket {
  const socket = connect({ port: front.port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => {});
  return socket.resume();
}

/** A connection that is served: its first call was answered. Bytes are then written by hand. */
async function opened(front: Front): Promise<Socket> {
  const socket = socketTo(front);
  const message = Buffer.from('\0\0\0\0\x02hi', 'latin1');
  socket.write(Buffer.concat([HELLO, headers(1), encodeFrame(DATA, 1, 1, message)]));
  let got = NOTHING;
  const take = (bytes: Buffer): void => {
    got = Buffer.concat([got, bytes]);
  };
  socket.on('data', take);
  while (!got.includes('\0\0\0\0\x02hi')) await once(socket, 'data');
  socket.off('data', take);
  socket.write(ACK);
  return socket;
}

/** Writes pieces until the server has closed the connection; fails when it takes them all. */
async function floods(socket: Socket, piece: (turn: number) => Buffer, pieces: number): Promise<void> {
  for (let turn = 0; turn < pieces && !socket.destroyed; turn++) {
    if (!socket.write(piece(turn))) await Promise.race([once(socket, 'drain'), closing(socket)]);
    if (turn % 16 === 0) await new Promise(setImmediate);
  }
  const end = sleep(5_000, 'still open', { ref: false });
  assert.equal(
    await Promise.race([socket.closed ? 'closed' : closing(socket).then(() => 'closed'), end]),
    'closed',
  );
}

async function stillServes(front: Front): Promise<void> {
  await withClient(front.authority, plain, (client) => echoes(client));
}

describe('limits of connections', { timeout: 60_000 }, () => {
  it('refuses more than are allowed, at once and with one line in the log, and takes new ones when some have gone', async () => {
    const clock = new ManualClock();
    await withFront(
      async (front) => {
        const open = [socketTo(front), socketTo(front), socketTo(front)];
        for (const socket of open) await once(socket, 'connect');
        for (let refused = 0; refused < 5; refused++) await closing(socketTo(front));
        assert.ok(open.every((socket) => !socket.closed));
        clock.advance(10_000);
        const [line, ...others] = front.logged.filter(({ message }) =>
          message.startsWith('connections refused'),
        );
        assert.deepEqual(line?.fields, { url: 'http://127.0.0.1:0', refused: 5, connectionsMax: 3 });
        assert.equal(others.length, 0);
        for (const socket of open) {
          socket.destroy();
          await closing(socket);
        }
        await sleep(20);
        await stillServes(front);
      },
      undefined,
      clock,
      { connections: 3 },
    );
  });
});

describe('slow clients', { timeout: 60_000 }, () => {
  it('are closed in their TLS handshake', { skip: missingTools('openssl') }, async () => {
    const made = makeCertificates();
    try {
      await withFront(
        async (front) => {
          const silent = socketTo(front);
          const begun = socketTo(front);
          begun.write(Buffer.of(0x16, 3, 1, 2, 0, 1));
          await Promise.all([closing(silent), closing(begun)]);
        },
        made.server,
        undefined,
        SHORT,
      );
    } finally {
      made.remove();
    }
  });

  const begun: readonly [what: string, bytes: Buffer][] = [
    ['nothing', NOTHING],
    ['half a preface', PREFACE.subarray(0, 20)],
    ['half of its SETTINGS', HELLO.subarray(0, -2)],
    [
      'a header block without its end',
      Buffer.concat([HELLO, encodeFrame(FRAME_TYPE.headers, 0, 1, fields(RANGE))]),
    ],
    ['half a frame of headers', Buffer.concat([HELLO, headers(1).subarray(0, 30)])],
  ];
  for (const [what, bytes] of begun) {
    it(`are closed when all they say in HTTP/2 is ${what}`, async () => {
      await withFront(
        async (front) => {
          const socket = socketTo(front);
          const greets = bytes.length > HELLO.length;
          if (greets) {
            // So that what is wrong is not the acknowledgement.
            socket.write(HELLO);
            await once(socket, 'data');
            socket.write(ACK);
          }
          socket.write(bytes.subarray(greets ? HELLO.length : 0));
          await closing(socket);
          await stillServes(front);
        },
        undefined,
        undefined,
        SHORT,
      );
    });
  }

  it('keep a connection on which they have begun nothing', async () => {
    await withFront(
      async (front) => {
        const session = http2Connect(front.url);
        await once(session, 'connect');
        await sleep(SHORT_MS * 3);
        const stream = openStream(session);
        await once(stream, 'data');
        session.destroy();
      },
      undefined,
      undefined,
      SHORT,
    );
  });

  it('get 408 when an HTTP/1.1 request’s headers or body take too long', async () => {
    await withFront(
      async (front) => {
        const starts = [
          'GET / HTTP/1.1\r\nHost: a\r\nX',
          'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1',
        ];
        for (const start of starts) {
          const socket = connect(front.port, '127.0.0.1');
          socket.on('error', () => {});
          socket.write(start);
          let text = '';
          socket.on('data', (bytes) => {
            text += String(bytes);
          });
          await closing(socket);
          assert.match(text, /^HTTP\/1\.1 408 /);
        }
      },
      undefined,
      undefined,
      SHORT,
    );
  });

  function session(front: Front): ClientHttp2Session {
    const made = http2Connect(front.url);
    made.on('error', () => {});
    return made;
  }

  it('lose an HTTP/2 call whose request stays unfinished, and not their connection', async () => {
    await withFront(
      async (front) => {
        const client = session(front);
        const request = {
          ':method': 'POST',
          ':path': RANGE,
          'content-type': 'application/grpc',
          te: 'trailers',
        };
        for (const bytes of [NOTHING, Buffer.of(0, 0), Buffer.of(0, 0, 0, 0, 9, 1)]) {
          const slow = client.request(request);
          slow.on('error', () => {});
          slow.write(bytes);
          await closing(slow);
          assert.equal(slow.rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM);
        }
        const stream = openStream(client);
        await once(stream, 'data');
        assert.equal(front.peers.length, 0, 'no unfinished request has reached a service');
        client.destroy();
      },
      undefined,
      undefined,
      SHORT,
    );
  });

  it('lose a stream on which a message stays unfinished, and keep one on which they say nothing', async () => {
    await withFront(
      async (front) => {
        const client = session(front);
        const silent = openStream(client);
        const slow = openStream(client);
        slow.on('error', () => {});
        slow.write(Buffer.from('\0\0\0\0\x02hi\0\0\0\0\x02h', 'latin1'));
        await closing(slow);
        assert.equal(slow.rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM);
        silent.write(Buffer.from('\0\0\0\0\x02hi', 'latin1'));
        let got = NOTHING;
        for await (const bytes of silent) {
          got = Buffer.concat([got, bytes as Buffer]);
          if (got.includes('hi')) break;
        }
        client.destroy();
      },
      undefined,
      undefined,
      SHORT,
    );
  });

  it('are not taken for those whose call takes long to answer', async () => {
    await withFront(
      async (front) => {
        const client = session(front);
        const late = client.request({
          ':method': 'POST',
          ':path': RANGE,
          'content-type': 'application/grpc',
          te: 'trailers',
        });
        late.on('error', () => {});
        front.holdEchoesMs = SHORT_MS * 3;
        late.end(Buffer.from('\0\0\0\0\x02hi', 'latin1'));
        assert.equal(String((await once(late, 'data'))[0]), '\0\0\0\0\x02hi');
        client.destroy();
      },
      undefined,
      undefined,
      SHORT,
    );
  });
});

describe('headers that are too large', { timeout: 60_000 }, () => {
  it('get 431 in HTTP/1.1', async () => {
    await withFront(
      async (front) => {
        const get = (bytes: number): Promise<Response> =>
          fetch(front.url, { headers: { 'x-large': 'x'.repeat(bytes) } });
        assert.equal((await get(7_000)).status, 200);
        assert.equal((await get(9_000)).status, 431);
        await stillServes(front);
      },
      undefined,
      undefined,
      { headerBytes: 8192 },
    );
  });

  it('lose their call or their connection in HTTP/2, the first or a later one, and reach no service', async () => {
    const field = (name: string, length: number): Buffer[] => [
      Buffer.of(0),
      encodeString(name),
      encodeString('x'.repeat(length)),
    ];
    const many = Array.from({ length: 130 }, (_, index) => field(`x-${index}`, 1)).flat();
    const first: Frame = { type: FRAME_TYPE.headers, flags: 0, stream: 3, payload: NOTHING, bytes: NOTHING };
    for (const [more, ends] of [
      [many, Buffer.of(0, 0, 4, RST_STREAM)],
      [field('x-large', 70_000), Buffer.of(FRAME_TYPE.goAway)],
    ] as const) {
      await withFront(async (front) => {
        for (const start of [async () => socketTo(front), () => opened(front)]) {
          const socket = await start();
          let got = NOTHING;
          socket.on('data', (bytes: Buffer) => {
            got = Buffer.concat([got, bytes]);
          });
          const isNew = socket.connecting;
          if (isNew) socket.write(HELLO);
          socket.write(encodeHeaders({ first, priority: NOTHING, fields: fields(RANGE, ...more) }));
          if (isNew) socket.write(ACK);
          while (!got.includes(ends) && !socket.closed) await sleep(5);
          assert.ok(got.includes(ends));
          socket.destroy();
        }
        await stillServes(front);
        assert.equal(front.peers.length, 2, 'one opened it, one came after');
      });
    }
  });
});

describe('floods of HTTP/2 frames end their connection alone:', { timeout: 120_000 }, () => {
  const cut = (turn: number): number => 3 + 2 * turn;

  it('streams that are opened and reset at once (rapid reset): GOAWAY, and no more of them are taken', async () => {
    await withFront(async (front) => {
      const socket = await opened(front);
      const cutter = new FrameCutter();
      const seen: number[] = [];
      socket.on('data', (bytes: Buffer) => {
        cutter.push(bytes);
        for (let frame = cutter.next(); frame !== undefined; frame = cutter.next()) seen.push(frame.type);
      });
      const cancel = Buffer.of(0, 0, 0, constants.NGHTTP2_CANCEL);
      let turn = 0;
      for (; turn < 20_000 && !socket.destroyed && !seen.includes(FRAME_TYPE.goAway); turn++) {
        socket.write(Buffer.concat([headers(cut(turn)), encodeFrame(RST_STREAM, 0, cut(turn), cancel)]));
        if (turn % 16 === 0) await new Promise(setImmediate);
      }
      assert.ok(turn < 20_000, 'it may go on');
      // A stream of after the GOAWAY is not served.
      socket.write(Buffer.concat([headers(cut(turn)), encodeFrame(DATA, 1, cut(turn), Buffer.alloc(5))]));
      await stillServes(front);
      assert.equal(front.peers.length, 2);
      socket.destroy();
    });
  });

  it('SETTINGS by the hundred', async () => {
    await withFront(async (front) => {
      const socket = await opened(front);
      const settings = Buffer.concat(Array.from({ length: 100 }, () => encodeSettings([[3, 1]])));
      await floods(socket, () => settings, 20_000);
      await stillServes(front);
    });
  });

  it('a header block that never ends (CONTINUATION), on a new connection and on one that is served', async () => {
    await withFront(async (front) => {
      const empty = encodeFrame(FRAME_TYPE.continuation, 0, 3, encodeInteger(2, 7, 0x80));
      for (const start of [async () => socketTo(front), () => opened(front)]) {
        const socket = await start();
        if (socket.connecting) socket.write(HELLO);
        socket.write(encodeFrame(FRAME_TYPE.headers, 0, 3, fields(RANGE)));
        await floods(socket, () => empty, 60_000);
      }
      await stillServes(front);
    });
  });

  it('a header block of many pieces that is whole is no flood', async () => {
    await withFront(async (front) => {
      const socket = await opened(front);
      const first: Frame = {
        type: FRAME_TYPE.headers,
        flags: 0,
        stream: 3,
        payload: NOTHING,
        bytes: NOTHING,
      };
      const large = Buffer.concat([Buffer.of(0), encodeString('x-large'), encodeString('x'.repeat(40_000))]);
      socket.write(encodeHeaders({ first, priority: NOTHING, fields: fields(RANGE, large) }));
      socket.write(encodeFrame(DATA, 1, 3, Buffer.from('\0\0\0\0\x02hi', 'latin1')));
      while (front.peers.length < 2) await sleep(5);
      socket.destroy();
    });
  });
});
