import { type Random, randomId } from '../../shared/base/random.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import {
  decodeLeaseGrantRequest,
  decodeLeaseKeepAliveRequest,
  decodeLeaseTimeToLiveRequest,
} from '../../shared/etcd/requests.ts';
import {
  encodeLeaseKeepAliveResponse,
  encodeLeaseLeasesResponse,
  encodeLeaseTimeToLiveResponse,
} from '../../shared/etcd/responses.ts';
import { Writer } from '../../shared/etcd/wire.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { WriteCallback } from '../commit/batch.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { Lessor } from '../lease/lessor.ts';
import type { ReaderPool } from '../state/reader-client.ts';
import { checkedWhileEnabled, type Guard } from './guard.ts';
import type { Identity } from './identity.ts';
import { checkedLeaseHandlers, checkKeepAlive } from './lease-auth.ts';
import {
  checkMessage,
  type DuplexCall,
  failStream,
  type Reply,
  type ServiceHandlers,
  sendMessage,
} from './service.ts';

export interface LeaseParts {
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): void;
  gate: ReadGate;
  readers: ReaderPool;
  lessor: Lessor;
  identity: Identity;
  guard: Guard;
  random: Random;
}

const NO_RESPONSE = new Uint8Array(0);
/** LeaseGrantRequest.TTL and ID. */
const TAGS = { ttl: 8, id: 16 } as const;

/** etcd's Lease service. */
export function leaseHandlers(parts: LeaseParts): ServiceHandlers {
  const open = openHandlers(parts);
  return checkedWhileEnabled(parts.guard, open, checkedLeaseHandlers(parts, open));
}

function openHandlers(parts: LeaseParts): ServiceHandlers {
  return {
    unary: {
      LeaseGrant: (request, reply) =>
        parts.submit(WriteKind.LeaseGrant, withId(parts.random, request), reply),
      LeaseRevoke: (request, reply) => parts.submit(WriteKind.LeaseRevoke, request, reply),
      LeaseTimeToLive: (request, reply) => timeToLive(parts, request, reply),
      LeaseLeases: (request, reply) => {
        checkMessage(request);
        throughGate(parts, reply, () =>
          reply(undefined, encodeLeaseLeasesResponse(parts.identity.header(), parts.lessor.ids())),
        );
      },
    },
    duplex: { LeaseKeepAlive: (call) => keepAlives(parts, call) },
  };
}

/** Chooses the lease's id if the client left that to the server: positive, as etcd's. */
function withId(random: Random, request: Buffer): Uint8Array {
  const { id, ttl } = decodeLeaseGrantRequest(request);
  if (id !== 0n) return request;
  const writer = new Writer();
  writer.varint(TAGS.ttl);
  writer.int64(ttl);
  writer.varint(TAGS.id);
  writer.bigint64(randomId(random));
  return writer.finish();
}

function throughGate(parts: LeaseParts, reply: Reply, answer: () => void): void {
  parts.gate.enter((error) => {
    if (error === undefined) answer();
    else reply(error, NO_RESPONSE);
  });
}

function timeToLive(parts: LeaseParts, request: Buffer, reply: Reply): void {
  const { id, keys: wantsKeys } = decodeLeaseTimeToLiveRequest(request);
  throughGate(parts, reply, () => {
    const left = parts.lessor.timeToLive(id);
    const send = (keys: Uint8Array[]): void => {
      const fields = left === undefined ? { ttl: -1, grantedTtl: 0 } : left;
      reply(undefined, encodeLeaseTimeToLiveResponse(parts.identity.header(), { id, ...fields, keys }));
    };
    if (left === undefined || !wantsKeys) send([]);
    else parts.readers.leaseKeys(id).then(send, (error: Error) => reply(error, NO_RESPONSE));
  });
}

/** A keep-alive promises a time, which only the primary can keep: after a takeover every lease has its full TTL. */
function leading(gate: ReadGate): Promise<void> {
  return new Promise((resolve, reject) => {
    gate.lead((error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Answers keep-alives in the order they came; the next one is read when the one before is answered. */
function keepAlives(parts: LeaseParts, call: DuplexCall): void {
  let turn = Promise.resolve();
  const answer = async (message: Buffer): Promise<void> => {
    const { id } = decodeLeaseKeepAliveRequest(message);
    // Made before the renewal, so that it is never newer than a revoke that made the renewal fail.
    const header = parts.identity.header();
    if (parts.guard.enabled) await checkKeepAlive(parts, call, id);
    await leading(parts.gate);
    const ttl = await parts.lessor.keepAlive(id);
    if (!call.cancelled) await sendMessage(call, encodeLeaseKeepAliveResponse(header, id, ttl));
  };
  call.on('data', (message: Buffer) => {
    call.pause();
    turn = answer(message).then(
      () => void call.resume(),
      (error: unknown) => failStream(call, error),
    );
  });
  call.on('end', () => {
    void turn.then(() => call.end());
  });
  call.on('error', () => call.end());
}

/** For the lessor: writes the revoke of a lease that has ended. */
export function revokeRequest(id: bigint): Uint8Array {
  const writer = new Writer();
  writer.varint(8);
  writer.bigint64(id);
  return writer.finish();
}

/** True for an answer that says the lease is gone already. */
export function isLeaseGone(error: Error): boolean {
  return error instanceof EtcdError && error.kind === 'LeaseNotFound';
}
