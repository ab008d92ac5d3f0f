import type { IncomingMessage } from 'node:http';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import { CallError } from './loopback.ts';

/** As etcd's gRPC server refuses a message. */
export function tooLarge(bytes: number, bytesMax: number): CallError {
  const sizes = `${bytes} vs. ${bytesMax}`;
  return new CallError(GrpcCode.ResourceExhausted, `grpc: received message larger than max (${sizes})`);
}

/**
 * All of a request's body. Rejects with a `CallError` as soon as it is larger than `bytesMax`, and lets the rest of it
 * pass unkept; with another error when the client goes away first.
 */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (piece: Buffer) => {
      length += piece.length;
      if (length <= bytesMax) pieces.push(piece);
      else reject(tooLarge(length, bytesMax));
      if (length > bytesMax) pieces.length = 0;
    });
    request.on('end', () => resolve(Buffer.concat(pieces)));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the client went away')));
  });
}
