import { EMPTY_BYTES, Reader } from './wire.ts';

/**
 * The requests of etcd's lock and election services. `bytes` fields are views of the input. Every decoder throws
 * `MalformedMessageError` and nothing else. Fields and numbers: etcd 3.7's v3lock.proto and v3election.proto.
 */

/** Lock.Lock. */
export interface LockRequest {
  name: Uint8Array;
  lease: bigint;
}

/** Lock.Unlock. */
export interface UnlockRequest {
  key: Uint8Array;
}

/** Election.Campaign. */
export interface CampaignRequest {
  name: Uint8Array;
  lease: bigint;
  value: Uint8Array;
}

/** What stands for one campaigner's lead. */
export interface LeaderKey {
  name: Uint8Array;
  key: Uint8Array;
  rev: bigint;
  lease: bigint;
}

/** Election.Proclaim, and Election.Resign, which has no value. */
export interface LeaderKeyRequest {
  leader: LeaderKey | undefined;
  value: Uint8Array;
}

/** Election.Leader and Election.Observe. */
export interface LeaderRequest {
  name: Uint8Array;
}

/** Decodes a `LockRequest`. */
export function decodeLockRequest(bytes: Uint8Array): LockRequest {
  const { name, lease } = decodeCampaignRequest(bytes);
  return { name, lease };
}

/** Decodes an `UnlockRequest`. */
export function decodeUnlockRequest(bytes: Uint8Array): UnlockRequest {
  return { key: decodeCampaignRequest(bytes).name };
}

/** Decodes a `LeaderRequest`. */
export function decodeLeaderRequest(bytes: Uint8Array): LeaderRequest {
  return { name: decodeCampaignRequest(bytes).name };
}

/** Decodes a `CampaignRequest`. */
export function decodeCampaignRequest(bytes: Uint8Array): CampaignRequest {
  const reader = new Reader(bytes);
  const out: CampaignRequest = { name: EMPTY_BYTES, lease: 0n, value: EMPTY_BYTES };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.name = reader.bytes();
    else if (tag === 16) out.lease = reader.bigint64();
    else if (tag === 26) out.value = reader.bytes();
    else reader.skip(tag);
  }
  return out;
}

/** Decodes a `ProclaimRequest` or a `ResignRequest`. */
export function decodeLeaderKeyRequest(bytes: Uint8Array): LeaderKeyRequest {
  const reader = new Reader(bytes);
  const out: LeaderKeyRequest = { leader: undefined, value: EMPTY_BYTES };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.leader = readLeaderKey(reader, out.leader ?? emptyLeaderKey());
    else if (tag === 18) out.value = reader.bytes();
    else reader.skip(tag);
  }
  return out;
}

function emptyLeaderKey(): LeaderKey {
  return { name: EMPTY_BYTES, key: EMPTY_BYTES, rev: 0n, lease: 0n };
}

function readLeaderKey(reader: Reader, out: LeaderKey): LeaderKey {
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.name = reader.bytes();
    else if (tag === 18) out.key = reader.bytes();
    else if (tag === 24) out.rev = reader.bigint64();
    else if (tag === 32) out.lease = reader.bigint64();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return out;
}
