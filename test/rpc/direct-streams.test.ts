import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, connect as http2Connect } from 'node:http2';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { encodeFrame, encodeIntegerFrame, FLAG, FRAME_TYPE } from '../../src/main/rpc/http2-frames.ts';
import type { DuplexCall, StreamMethod, UnaryMethod } from '../../src/main/rpc/service.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from '../../src/main/rpc/windows.ts';
import { GRPC_OVERHEAD_BYTES } from '../../src/shared/model/limits.ts';
import { eventually } from '../kube/parallel.ts';
import {
  closing,
  Front,
  HOLD,
  MAX_REQUEST_BYTES,
  openStream,
  plain,
  RANGE,
  STREAMS_MAX,
  withClient,
} from '../support/front.ts';
import { data, exchange, type Fields, headers, message } from './raw-http2.ts';
import { Stingy } from './stingy.ts';

/** Until nothing more comes of itself. */
const SETTLE_MS = 300;
const MESSAGE_BYTES_MAX = MAX_REQUEST_BYTES + GRPC_OVERHEAD_BYTES;
const HELLO = Buffer.from('hello');
const ENDS = FLAG.endHeaders | FLAG.endStream;
/** Of messages that came and went beside grpc-js. */
const counted = { received: 0, sent: 0 };
/** How many calls came without grpc-js. */
let direct = 0;

/** A front whose stream is served beside grpc-js; by its own handler unless another is given. */
function directFront(
  serve?: (call: DuplexCall) => void,
  limits = {},
  unary: ReadonlyMap<string, UnaryMethod> = new Map(),
): Front {
  const hold: StreamMethod = {
    serve: (call) => {
      direct++;
      (serve ?? ((own) => front.hold(own)))(call);
    },
    meter: {
      received: (bytes) => {
        counted.received += bytes;
      },
      sent: (bytes) => {
        counted.sent += bytes;
      },
    },
  };
  const front = new Front(undefined, undefined, limits, {
    unary,
    streams: new Map([[HOLD, hold]]),
  });
  return front;
}

async function using(front: Front, body: (front: Front) => Promise<void>): Promise<void> {
  await front.listener.listen();
  try {
    await body(front);
  } finally {
    await front.listener.close(0);
  }
}

const BASE: Fields = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', HOLD],
  [':authority', 'a:1'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];

function withField(name: string, value: string): Fields {
  return [...BASE, [name, value]];
}

function padded(bytes: Buffer, padding: number): Buffer {
  return Buffer.concat([Buffer.of(padding), bytes, Buffer.alloc(padding)]);
}

const open = headers(1, BASE);
/** Of a stream on which nothing comes by itself: what ends it can't come before or after that. */
const quiet = headers(1, withField('quiet', '1'));
const hello = data(1, message(HELLO), 0);
const fail = data(1, message(Buffer.from('fail')), 0);
const end = data(1, Buffer.alloc(0));

/** What a client may send on a stream; all of it is served beside grpc-js but what is odd, or over before its handler sees it. */
const STREAMS: Record<string, { frames: Buffer[]; odd?: true; unseen?: true }> = {
  'opened alone': { frames: [open] },
  'opened and ended': { frames: [open, end] },
  'opened by a request without DATA': { frames: [headers(1, BASE, ENDS)], odd: true },
  'of a message': { frames: [open, hello] },
  'of an empty message': { frames: [open, data(1, message(Buffer.alloc(0)), 0), end] },
  'of messages in one frame': {
    frames: [open, data(1, Buffer.concat([message(HELLO), message(HELLO), message(HELLO)]), 0), end],
  },
  'of a message in pieces': {
    frames: [open, ...[...message(HELLO)].map((byte) => data(1, Buffer.of(byte), 0)), hello],
  },
  'that ends with its message': { frames: [open, data(1, message(HELLO))] },
  'that ends within a message': { frames: [open, hello, data(1, message(HELLO).subarray(0, 7))] },
  'that goes on after its end': { frames: [quiet, end, hello] },
  'that is padded': {
    frames: [
      open,
      data(1, padded(message(HELLO), 9), FLAG.padded),
      data(1, padded(Buffer.alloc(0), 3), FLAG.padded),
      data(1, padded(message(HELLO), 0), FLAG.padded | FLAG.endStream),
    ],
  },
  'that is padded with more than there is': { frames: [quiet, data(1, Buffer.of(9, 1, 1), FLAG.padded)] },
  'with trailers': { frames: [open, hello, headers(1, [['x', 'y']], ENDS)] },
  'with trailers that do not end it': { frames: [quiet, headers(1, [['x', 'y']])], unseen: true },
  'of a message of the largest size': {
    frames: [open, ...cut(message(Buffer.alloc(MESSAGE_BYTES_MAX, 'x')))],
  },
  'of a message that is too large': {
    frames: [open, ...cut(message(Buffer.alloc(MESSAGE_BYTES_MAX + 1, 'x')))],
  },
  'that says its message is too large': {
    frames: [open, data(1, Buffer.from('0001000000', 'hex'), 0)],
  },
  'compressed without saying how': { frames: [open, data(1, message(gzipSync(HELLO), 1), 0)] },
  compressed: {
    frames: [headers(1, withField('grpc-encoding', 'gzip')), data(1, message(gzipSync(HELLO), 1), 0)],
    odd: true,
  },
  'with metadata of bytes': { frames: [headers(1, withField('x-bin', 'AAA=')), hello], odd: true },
  'with metadata': { frames: [headers(1, withField('token', 'a b')), hello] },
  'whose time is not over': { frames: [headers(1, withField('grpc-timeout', '5S')), hello] },
  'whose time is over': { frames: [headers(1, withField('grpc-timeout', '20m')), hello] },
  'whose time is over before an answer': {
    frames: [headers(1, [...withField('grpc-timeout', '20m'), ['quiet', '1']])],
  },
  'that is refused': { frames: [headers(1, withField('refused', '1'))] },
  'that is refused at once after it ended': { frames: [headers(1, withField('refused', '1')), end] },
  'that fails': { frames: [open, hello, fail] },
  'that fails and goes on': { frames: [open, hello, fail, hello, end] },
  'that fails without an answer': { frames: [quiet, fail] },
  'that ends without an answer': { frames: [quiet, end] },
  'that is cancelled': { frames: [quiet, encodeIntegerFrame(FRAME_TYPE.resetStream, 1, 8)], unseen: true },
  'that is cancelled and goes on': {
    frames: [quiet, encodeIntegerFrame(FRAME_TYPE.resetStream, 1, 8), hello, headers(3, BASE)],
  },
  'whose window gets nothing': { frames: [quiet, encodeIntegerFrame(FRAME_TYPE.windowUpdate, 1, 0)] },
  'whose reset is malformed': { frames: [quiet, encodeFrame(FRAME_TYPE.resetStream, 0, 1, Buffer.alloc(3))] },
  'beside others': {
    frames: [open, headers(3, BASE), data(3, message(HELLO), 0), hello, data(3, Buffer.alloc(0)), end],
  },
};

function cut(bytes: Buffer, stream = 1): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 16_384) {
    frames.push(data(stream, bytes.subarray(at, at + 16_384), 0));
  }
  return frames;
}

/** What a random client does on one of three streams. */
interface Step {
  readonly stream: number;
  readonly text: string;
  readonly pieces: number;
  readonly padding: number;
  readonly ends: boolean;
  readonly cancels: boolean;
}

const STEP = fc.record<Step>({
  stream: fc.constantFrom(1, 3, 5),
  text: fc.oneof(
    { weight: 6, arbitrary: fc.string({ maxLength: 40 }) },
    { weight: 1, arbitrary: fc.constantFrom('fail', 'x'.repeat(3_000)) },
  ),
  pieces: fc.integer({ min: 1, max: 4 }),
  padding: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(20) }),
  ends: fc.boolean(),
  cancels: fc.nat(9).map((value) => value === 0),
});

/** Frames of a client that keeps to the rules. */
function framesOf(steps: readonly Step[]): Buffer[] {
  const frames = [headers(1, BASE), headers(3, BASE), headers(5, withField('quiet', '1'))];
  const over = new Set<number>();
  for (const [index, { stream, text, pieces, padding, ends, cancels }] of steps.entries()) {
    if (over.has(stream)) continue;
    if (ends && index > steps.length / 2) over.add(stream);
    const bytes = message(Buffer.from(text));
    const step = Math.ceil(bytes.length / pieces);
    for (let at = 0; at < bytes.length; at += step) {
      const piece = bytes.subarray(at, at + step);
      const flags = over.has(stream) && at + step >= bytes.length ? FLAG.endStream : 0;
      frames.push(
        padding > 0 ? data(stream, padded(piece, padding), flags | FLAG.padded) : data(stream, piece, flags),
      );
    }
    // Not both: whether an answer is out before the client takes its call back is a matter of time.
    if (cancels && !over.has(stream)) over.add(stream);
  }
  return frames;
}

function copies(frames: readonly Buffer[]): Buffer[] {
  return frames.map((frame) => Buffer.from(frame));
}

describe('streams beside grpc-js', { timeout: 120_000 }, () => {
  it('are served as by grpc-js, however odd what is sent', async () => {
    await using(directFront(), (fast) =>
      using(new Front(), async (plainly) => {
        for (const [name, { frames, odd, unseen }] of Object.entries(STREAMS)) {
          const before = direct;
          const [ours, theirs] = await Promise.all([
            exchange(fast.port, copies(frames)),
            exchange(plainly.port, copies(frames)),
          ]);
          assert.deepEqual(ours, theirs, `a stream ${name}`);
          if (ours.failed || unseen) continue;
          assert.equal(direct > before, odd !== true, `a stream ${name} is for the other`);
        }
      }),
    );
  });

  it('are served as by grpc-js, whatever a client sends in its turn', async () => {
    await using(directFront(), (fast) =>
      using(new Front(), async (plainly) => {
        const property = fc.asyncProperty(fc.array(STEP, { maxLength: 30 }), async (steps) => {
          const frames = framesOf(steps);
          const [ours, theirs] = await Promise.all([
            exchange(fast.port, copies(frames)),
            exchange(plainly.port, copies(frames)),
          ]);
          assert.deepEqual(ours, theirs);
        });
        await fc.assert(property, { numRuns: 40 });
      }),
    );
  });

  it('count the messages that come and go', async () => {
    await using(directFront(), async (fast) => {
      const before = { ...counted };
      await exchange(fast.port, [open, hello, hello, data(1, message(Buffer.alloc(0)), 0), end]);
      assert.equal(counted.received - before.received, 10);
      assert.equal(counted.sent - before.sent, 'open'.length + 10);
    });
  });

  it('have no more sent to a slow client than its windows allow, and lose nothing', async () => {
    await using(directFront(), async (fast) => {
      const client = new Stingy(fast.port);
      const sizes = Array.from({ length: 60 }, (_, index) => (index * 7_919) % 16_000);
      client.open(1, HOLD);
      client.open(3, HOLD);
      for (const size of sizes) {
        client.send(1, Buffer.alloc(size, 'x'), false);
        client.send(3, Buffer.alloc(16_000 - size, 'x'), false);
      }
      client.end(1);
      client.end(3);
      const expected = (all: number[]): number =>
        all.reduce((sum, size) => sum + size + 5, 5 + 'open'.length);
      await client.giveUntil(20_011, () => client.ended.length === 2);
      assert.equal(client.received(1), expected(sizes));
      assert.equal(client.received(3), expected(sizes.map((size) => 16_000 - size)));
      assert.ok(client.overdrawnBytes <= 0, `${client.overdrawnBytes} bytes more than the window`);
      client.close();
    });
  });

  it('have no more sent than the window of each, which node ends the connection for', async () => {
    await using(directFront(), async (fast) => {
      const session = http2Connect(fast.url, { settings: { initialWindowSize: 0 } });
      const streams = [openStream(session), openStream(session)];
      await Promise.all(streams.map((stream) => once(stream, 'ready')));
      await new Promise((resolve) => session.ping(resolve));
      await new Promise((resolve) => session.settings({ initialWindowSize: 3_000 }, resolve));
      const got: Buffer[][] = [[], []];
      const sent = Array.from({ length: 100 }, (_, index) => message(Buffer.alloc(2_000, `${index} `)));
      streams.forEach((stream, index) => {
        stream.on('data', (bytes: Buffer) => got[index]?.push(bytes));
        for (const bytes of sent) stream.write(bytes);
        stream.end();
      });
      await Promise.all(streams.map(closing));
      const expected = Buffer.concat([message(Buffer.from('open')), ...sent]);
      for (const pieces of got) assert.ok(Buffer.concat(pieces).equals(expected));
      session.destroy();
    });
  });

  it('are closed when they have ended, for a client that has not ended its own', async () => {
    await using(directFront(), async (fast) => {
      const session = http2Connect(fast.url);
      const stream = openStream(session);
      stream.resume();
      stream.write(message(Buffer.from('fail')));
      await closing(stream);
      assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
      session.destroy();
    });
  });

  it('go on beside a large answer that its client does not take', async () => {
    const large: UnaryMethod = (_request, _call, answer) => answer(null, Buffer.alloc(600_000));
    await using(directFront(undefined, {}, new Map([[RANGE, large]])), async (fast) => {
      const session = http2Connect(fast.url);
      await once(session, 'connect');
      session.setLocalWindowSize(1024 * 1024);
      const unread = session.request({ ...Object.fromEntries(BASE), ':path': RANGE });
      unread.end(message(HELLO));
      await once(unread, 'response');
      const stream = openStream(session);
      let got = '';
      stream.on('data', (bytes: Buffer) => {
        got += bytes.toString('latin1');
      });
      stream.write(message(HELLO));
      await eventually('no echo', 5_000, async () => got.endsWith('hello') || undefined);
      unread.close();
      session.destroy();
    });
  });

  it('count among the calls that a connection may have', async () => {
    await using(directFront(), async (fast) => {
      const opened = Array.from({ length: 330 }, (_, index) => headers(2 * index + 1, BASE));
      const { streams } = await exchange(fast.port, opened);
      assert.equal(Object.values(streams).filter(({ reset }) => reset).length, 330 - STREAMS_MAX);
    });
  });

  it('let a client send on when its handler has taken what came, and not before', async () => {
    const calls: DuplexCall[] = [];
    let taken = 0;
    const serve = (call: DuplexCall): void => {
      calls.push(call);
      call.on('data', (bytes: Buffer) => {
        taken += bytes.length;
        if (taken <= 30_000) call.pause();
      });
    };
    await using(directFront(serve), async (fast) => {
      const session = http2Connect(fast.url);
      const stream = openStream(session);
      const total = CONNECTION_WINDOW_BYTES + STREAM_WINDOW_BYTES;
      for (let sent = 0; sent < total; sent += 30_000) stream.write(message(Buffer.alloc(30_000, 'x')));
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      assert.equal(taken, 30_000, 'a call that is paused gets nothing');
      assert.ok(stream.writableLength > STREAM_WINDOW_BYTES, 'the client still has most of it');
      calls[0]?.resume();
      await eventually('not all has come', 5_000, async () => taken >= total || undefined);
      session.destroy();
    });
  });

  it('are reset when a client sends more than its window, or opens one further than HTTP/2 can, and nothing else is', async () => {
    await using(
      directFront((call) => void call.pause()),
      async (fast) => {
        const piece = message(Buffer.alloc(16_000));
        const frames = Array.from({ length: STREAM_WINDOW_BYTES / 16_000 + 1 }, () => data(1, piece, 0));
        const opened = encodeIntegerFrame(FRAME_TYPE.windowUpdate, 3, 2 ** 31 - 1);
        const { streams, failed } = await exchange(fast.port, [open, ...frames, headers(3, BASE), opened]);
        assert.deepEqual([streams[1]?.reset, streams[3]?.reset], [true, true]);
        assert.equal(failed, false, 'the connection goes on');
        const ids = Array.from({ length: 9 }, (_, index) => 2 * index + 1);
        const many = ids.flatMap((id) => [headers(id, BASE), ...Array<Buffer>(65).fill(data(id, piece, 0))]);
        assert.equal(
          (await exchange(fast.port, many)).failed,
          true,
          'together more than the connection allows',
        );
      },
    );
  });

  it('are lost on which a message stays unfinished, and kept when nothing is said', async () => {
    await using(directFront(undefined, { requestReadMs: 200 }), async (fast) => {
      const half = message(HELLO).subarray(0, 6);
      const frames = [open, headers(3, BASE), data(1, Buffer.concat([message(HELLO), half]), 0)];
      const { streams } = await exchange(fast.port, frames, { settleMs: 500 });
      assert.deepEqual([streams[1]?.reset, streams[3]?.reset], [true, false]);
    });
  });

  it('tell their handlers once that the client has gone, by itself or with its connection', async () => {
    const told: string[] = [];
    let calls = 0;
    const serve = (call: DuplexCall): void => {
      const name = `call ${++calls}`;
      call.on('cancelled', () => told.push(`${name} cancelled`));
      call.on('close', () => told.push(`${name} closed`));
      call.on('data', () => {});
    };
    await using(directFront(serve), async (fast) => {
      const client = new Stingy(fast.port);
      client.open(1, HOLD);
      client.open(3, HOLD);
      await client.ping();
      client.cancel(1);
      await client.ping();
      assert.deepEqual(told, ['call 1 cancelled', 'call 1 closed']);
      client.close();
      await eventually('nobody is told', 5_000, async () => told.length >= 4 || undefined);
      assert.deepEqual(told.slice(2), ['call 2 cancelled', 'call 2 closed']);
    });
  });

  it('serve grpc-js clients, and are waited for when the server stops', async () => {
    const front = directFront();
    await front.listener.listen();
    const before = direct;
    await withClient(front.authority, plain, async (client) => {
      const asIs = (bytes: Buffer): Buffer => bytes;
      const call = client.makeBidiStreamRequest(HOLD, asIs, asIs);
      const got: string[] = [];
      call.on('data', (bytes: Buffer) => got.push(bytes.toString()));
      await once(call, 'data');
      const closed = front.listener.close(10_000);
      for (let index = 0; index < 100; index++) call.write(Buffer.from(String(index)));
      call.end();
      await once(call, 'end');
      assert.deepEqual(got, ['open', ...Array.from({ length: 100 }, (_, index) => String(index))]);
      await closed;
    });
    assert.equal(direct - before, 1);
  });
});
