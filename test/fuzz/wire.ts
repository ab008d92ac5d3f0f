import { connect } from 'node:net';
import type { Seeded } from '../support/seeded.ts';

/** What is no request at all: broken HTTP/2 framing, broken HTTP/1.1, noise. */

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** How long to listen to what a server says to it. */
const LISTEN_MS = 60;

function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

function noise(random: Seeded, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, () => random.integer(0, 256)));
}

const NONE = Buffer.alloc(0);
const SETTINGS = frame(4, 0, 0, NONE);
/** GET / with every other header left out. */
const REQUEST = frame(1, 5, 1, Buffer.from([0x82, 0x84, 0x86]));

const INPUTS: readonly ((random: Seeded) => Buffer)[] = [
  (random) => noise(random, random.integer(1, 400)),
  (random) => Buffer.concat([PREFACE, noise(random, random.integer(1, 400))]),
  (random) => PREFACE.subarray(0, random.integer(1, PREFACE.length)),
  (random) =>
    Buffer.concat([
      PREFACE,
      SETTINGS,
      frame(1, random.integer(0, 256), random.integer(0, 8), noise(random, 60)),
    ]),
  (random) =>
    Buffer.concat([
      PREFACE,
      SETTINGS,
      REQUEST,
      frame(random.integer(0, 16), random.integer(0, 256), random.integer(0, 4), noise(random, 20)),
    ]),
  (random) =>
    Buffer.concat([PREFACE, SETTINGS, frame(random.integer(0, 10), 0, 1, noise(random, 10), 0xffffff)]),
  () =>
    Buffer.concat([PREFACE, SETTINGS, REQUEST, ...Array<Buffer>(300).fill(frame(3, 0, 1, Buffer.alloc(4)))]),
  () => Buffer.concat([PREFACE, SETTINGS, ...Array<Buffer>(400).fill(frame(6, 0, 0, Buffer.alloc(8)))]),
  () => Buffer.concat([PREFACE, SETTINGS, ...Array<Buffer>(400).fill(SETTINGS)]),
  () =>
    Buffer.concat([
      PREFACE,
      SETTINGS,
      frame(1, 1, 1, Buffer.from([0x82])),
      ...Array<Buffer>(200).fill(frame(9, 0, 1, Buffer.alloc(1024, 0x40))),
    ]),
  () =>
    Buffer.concat([
      PREFACE,
      SETTINGS,
      frame(8, 0, 0, Buffer.alloc(4)),
      frame(8, 0, 1, Buffer.alloc(4, 0xff)),
    ]),
  (random) =>
    Buffer.from(
      `${random.pick(['GET', 'POST', 'BREW', ''])} ${random.pick(['/health', '/v3/kv/put', '*', '//', 'http://['])} HTTP/${random.pick(['1.1', '1.0', '9.9', ''])}\r\n${random.pick(['', 'Host: a\r\n', 'X: \u0000\r\n', `X: ${'x'.repeat(70_000)}\r\n`])}\r\n`,
      'latin1',
    ),
  (random) =>
    Buffer.from(
      `POST /v3/kv/put HTTP/1.1\r\nHost: a\r\n${random.pick(['Content-Length: 5\r\nContent-Length: 6', 'Content-Length: -1', 'Content-Length: 99', 'Transfer-Encoding: chunked', 'Transfer-Encoding: x'])}\r\n\r\n${random.pick(['zz\r\n', '5\r\n{"key', '{"key":', 'ffffffffffffffff\r\n'])}`,
    ),
  (random) =>
    Buffer.concat([
      Buffer.from('POST /v3/watch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n'),
      noise(random, 30),
    ]),
  (random) => Buffer.from([0x16, 3, 1, 0, 0xc4, 1, 0, 0, 0xc0, 3, 3, ...noise(random, 60)]),
];

/** Says something broken to a port, and hangs up. Resolves when that is over; whatever is answered is right. */
export async function saySomethingBroken(random: Seeded, port: number): Promise<void> {
  const bytes = random.pick(INPUTS)(random);
  const rudely = random.fraction() < 0.5;
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(bytes);
      if (!rudely) socket.end();
    });
    const timer = setTimeout(() => socket.destroy(), LISTEN_MS);
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
