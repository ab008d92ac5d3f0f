import { connect } from 'node:net';
import {
  encodeFrame,
  encodeSettings,
  FLAG,
  FRAME_TYPE,
  FrameCutter,
  PREFACE,
} from '../../src/main/rpc/http2-frames.ts';
import { encodeString } from '../../src/shared/base/hpack.ts';
import { HeaderDecoder } from '../../src/shared/base/hpack-decoder.ts';

/** An HTTP/2 client that sends what it is told, however odd, and says what came of it. */

export type Fields = readonly (readonly [name: string, value: string])[];

/** A header block of literals. */
export function block(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.of(0), encodeString(name), encodeString(value)]),
  );
}

export function headers(stream: number, fields: Fields, flags: number = FLAG.endHeaders): Buffer {
  return encodeFrame(FRAME_TYPE.headers, flags, stream, block(fields));
}

export function data(stream: number, payload: Uint8Array, flags: number = FLAG.endStream): Buffer {
  return encodeFrame(FRAME_TYPE.data, flags, stream, payload);
}

/** A gRPC message with its prefix. */
export function message(bytes: Uint8Array, compressed = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed;
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** What a client learns of one stream. */
interface StreamOutcome {
  /** Of all header blocks, in order, without the date. */
  fields: string[];
  body: string;
  ended: boolean;
  reset: boolean;
}

export interface Outcome {
  streams: Record<number, StreamOutcome>;
  /** The connection was ended for an error of the client's. */
  failed: boolean;
}

const SETTLE_MS = 150;

/** Sends `frames` on a new connection; the outcome when nothing has come for `settleMs`. */
export function exchange(
  port: number,
  frames: readonly Buffer[],
  { settleMs = SETTLE_MS } = {},
): Promise<Outcome> {
  const outcome: Outcome = { streams: {}, failed: false };
  const cutter = new FrameCutter();
  const decoder = new HeaderDecoder();
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  socket.write(Buffer.concat([PREFACE, encodeSettings([])]));
  for (const frame of frames) socket.write(frame);
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout;
    const settle = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        socket.destroy();
        resolve(outcome);
      }, settleMs);
    };
    settle();
    socket.on('data', (bytes: Buffer) => {
      settle();
      cutter.push(bytes);
      for (let frame = cutter.next(); frame !== undefined; frame = cutter.next()) {
        if (frame.type === FRAME_TYPE.settings && (frame.flags & FLAG.ack) === 0) {
          socket.write(encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0)));
        }
        if (frame.type === FRAME_TYPE.goAway) outcome.failed ||= frame.payload.readUInt32BE(4) !== 0;
        if (frame.stream !== 0) note(outcome, decoder, frame);
      }
    });
  });
}

function note(
  { streams }: Outcome,
  decoder: HeaderDecoder,
  { stream, type, flags, payload }: { stream: number; type: number; flags: number; payload: Buffer },
): void {
  streams[stream] ??= { fields: [], body: '', ended: false, reset: false };
  const outcome = streams[stream];
  if (type === FRAME_TYPE.headers) {
    const fields = decoder.decode(payload).map(({ name, value }) => `${name}: ${value}`);
    outcome.fields.push(...fields.filter((field) => !field.startsWith('date: ')).sort());
  }
  if (type === FRAME_TYPE.data) outcome.body += payload.toString('latin1');
  if (type === FRAME_TYPE.resetStream) outcome.reset = payload.readUInt32BE(0) !== 0;
  const mayEnd = type === FRAME_TYPE.headers || type === FRAME_TYPE.data;
  if (mayEnd && (flags & FLAG.endStream) !== 0) outcome.ended = true;
}
