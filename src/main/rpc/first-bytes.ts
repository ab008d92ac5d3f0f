import type { Socket } from 'node:net';
import type { Clock } from '../../shared/base/clock.ts';

/** HTTP/2's connection preface as far as no HTTP/1.1 request can go (RFC 9113, section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0');

export type Protocol = 'http2' | 'http1';

/** Which protocol these first bytes begin; undefined while they may still be either. */
function protocolOf(bytes: Buffer): Protocol | undefined {
  const length = Math.min(bytes.length, PREFACE.length);
  if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) return 'http1';
  return length === PREFACE.length ? 'http2' : undefined;
}

/**
 * Waits until the socket's first bytes tell its protocol, puts them back, and calls `decided` in the same tick,
 * with no listener of ours left on the socket. A socket that ends, fails or stays silent for `timeoutMs` first is
 * destroyed, and `decided` is never called.
 */
export function tellProtocol(
  socket: Socket,
  clock: Clock,
  timeoutMs: number,
  decided: (protocol: Protocol) => void,
): void {
  let bytes: Buffer = Buffer.alloc(0);
  const timer = clock.after(timeoutMs, () => socket.destroy());
  const onReadable = (): void => {
    for (let piece = readPiece(socket); piece !== null; piece = readPiece(socket)) {
      bytes = bytes.length === 0 ? piece : Buffer.concat([bytes, piece]);
    }
    const protocol = bytes.length === 0 ? undefined : protocolOf(bytes);
    if (protocol === undefined) return;
    release();
    socket.unshift(bytes);
    decided(protocol);
  };
  const onEnd = (): void => {
    socket.destroy();
  };
  const release = (): void => {
    timer.cancel();
    socket.off('readable', onReadable).off('end', onEnd).off('close', release);
  };
  socket.on('readable', onReadable).on('end', onEnd).on('close', release);
}

function readPiece(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}
