import { assert } from '../base/assert.ts';

/** Every limit that is not a flag, in one place; their relations are checked when the program loads. */

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * The largest pipeline depth that the log allows (D in the design). A takeover skips this many
 * sequences, because a fenced primary may still land PUTs there. Changing it changes the log's format.
 */
export const PIPELINE_DEPTH_MAX = 64;

/** etcd's own limits: lease TTL in seconds (its lessor's minimum at default timings, and MaxLeaseTTL). */
export const LEASE_TTL_SECONDS_MIN = 2;
export const LEASE_TTL_SECONDS_MAX = 9_000_000_000;

/** etcd lets a gRPC message exceed `--max-request-bytes` by this much before the transport refuses it. */
export const GRPC_OVERHEAD_BYTES = 512 * KIB;

/** One request's records may not make a chunk larger than this; a record is refused by readers beyond it. */
export const RECORD_BYTES_MAX = 512 * MIB;

/**
 * V8's young generation of threads other than main, a third of which is what they fill between two collections. Most of
 * what they work on lies in buffers outside of V8's heap; of the usual 48 MiB they keep what they once grew into.
 */
export const WORKER_LIMITS = { maxYoungGenerationSizeMb: 12 } as const;

/** A piece of a snapshot ends with the record that makes it so large: what is held of one at a time. */
export const SNAPSHOT_PIECE_BYTES = 2 * MIB;

/** No object younger than this is deleted: a conditional PUT that is still on its way would find its name free. */
export const DELETE_AGE_MS_MIN = 3_600_000;

/** Replay reads at most this much per step, so that one slow watcher holds bounded memory. */
export const REPLAY_STEP_BYTES = MIB;

/** How often an object that is found damaged or cut short is read before that is believed. */
export const READS_MAX = 5;

/** An upload answered later than this after it began is unknown until the object was read back. */
export const UPLOAD_TRUST_MS = 60_000;

/** A name of the primary's lease is deleted no sooner than this after it was seen. */
export const LEASE_KEEP_MS = 600_000;

/** Whoever knows for longer than this which name is the lease's last looks again before it trusts that. */
export const LEASE_TRUST_MS = 60_000;

/** What `--lease-ttl` may be. */
export const LEASE_TTL_MS_MIN = 1_000;
export const LEASE_TTL_MS_MAX = 300_000;
/** Two may fail before reads wait. */
export const LEASE_RENEWALS_PER_TTL = 3;

assert(LEASE_TRUST_MS + LEASE_TTL_MS_MAX < LEASE_KEEP_MS, 'a lease name is free only when nobody trusts it');
assert(DELETE_AGE_MS_MIN > 10 * UPLOAD_TRUST_MS, 'uploads must be distrusted long before names are freed');
assert(REPLAY_STEP_BYTES < RECORD_BYTES_MAX, 'a replay step must be smaller than the largest record');

/**
 * Bytes of a file that a directory store writes and syncs at a time. A sync holds up those of other files on the same disk
 * for as long as it takes, so a chunk beside a pack or a snapshot waits for so much and not for the whole file.
 */
export const SYNCED_BYTES_MAX = 1024 * 1024;
