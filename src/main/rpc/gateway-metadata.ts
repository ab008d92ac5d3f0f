import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import { CallError } from './loopback.ts';

/** HTTP headers of this prefix are gRPC metadata under the rest of their name. */
const METADATA_PREFIX = 'grpc-metadata-';
const METADATA_NAME = /^[0-9a-z_.-]+$/;
const METADATA_VALUE = /^[\x20-\x7e]*$/;
/** What the connection itself says; a client may not. */
const RESERVED_NAME = /^(grpc-|te$|content-type$|connection$|host$)/;

/**
 * The metadata that the gateway's calls carry, as grpc-gateway makes it: `Authorization` (the auth token), and
 * `Grpc-Metadata-X` as `x`. etcd passes more on, which no service of its reads.
 */
export function metadataIn(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const metadata: OutgoingHttpHeaders = {};
  if (headers.authorization !== undefined) metadata['authorization'] = headers.authorization;
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith(METADATA_PREFIX) || typeof value !== 'string') continue;
    const name = header.slice(METADATA_PREFIX.length);
    if (!METADATA_NAME.test(name) || RESERVED_NAME.test(name) || !METADATA_VALUE.test(value)) continue;
    metadata[name] = value;
  }
  return metadata;
}

const UNIT_NANOSECONDS: Readonly<Record<string, bigint>> = {
  H: 3_600_000_000_000n,
  M: 60_000_000_000n,
  S: 1_000_000_000n,
  m: 1_000_000n,
  u: 1_000n,
  n: 1n,
};
/** Longer than any timer takes, which is as good as for ever. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * How long the client gives the call, in ms, from `Grpc-Timeout`; not positive when that is over already, undefined for
 * ever. A time beyond 64 bits of nanoseconds wraps around, as in Go. Throws a `CallError`.
 */
export function timeoutMsIn(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['grpc-timeout'];
  if (text === undefined || text === '') return undefined;
  const [, digits, unit] = /^([+-]?\d+)([HMSmun])$/.exec(String(text)) ?? [];
  const count = BigInt(digits?.replace('+', '') ?? 0);
  if (digits === undefined || BigInt.asIntN(64, count) !== count) {
    throw new CallError(GrpcCode.InvalidArgument, `invalid grpc-timeout: ${String(text)}`);
  }
  const nanoseconds = BigInt.asIntN(64, count * (UNIT_NANOSECONDS[unit ?? ''] ?? 0n));
  const timeoutMs = Number(nanoseconds) / 1e6;
  return nanoseconds === 0n || timeoutMs > TIMER_MS_MAX ? undefined : timeoutMs;
}
