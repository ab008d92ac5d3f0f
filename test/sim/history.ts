/** What the clients of a simulation asked and were told: the checks' input. */

type Outcome =
  /** Nobody knows: the answer was lost, or said that it is not known. */
  | 'unknown'
  /** Refused in a way that says that nothing was written. */
  | 'refused'
  | 'done';

export interface KeyAnswer {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: bigint;
}

export type Asked =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly lease: bigint }
  | { readonly kind: 'delete'; readonly key: string }
  /** If `key`'s mod revision is `expected`, puts it and `other`; else reads `key`. */
  | {
      readonly kind: 'swap';
      readonly key: string;
      readonly other: string;
      readonly expected: number;
      readonly value: string;
    }
  | {
      readonly kind: 'range';
      readonly from: string;
      /** Undefined: the one key. */
      readonly to: string | undefined;
      readonly serializable: boolean;
      /** 0: the newest. */
      readonly revision: number;
    }
  | { readonly kind: 'compact'; readonly revision: number }
  | { readonly kind: 'grant'; readonly lease: bigint; readonly ttlSeconds: number }
  | { readonly kind: 'revoke'; readonly lease: bigint }
  | { readonly kind: 'keep alive'; readonly lease: bigint };

export interface Told {
  readonly revision: number;
  readonly keys: readonly KeyAnswer[];
  /** Of a delete: how many; of a swap: 1 if it succeeded; of a keep-alive: the TTL. */
  readonly count: number;
}

export interface Operation {
  readonly id: number;
  readonly asked: Asked;
  /** The process that was asked. */
  readonly process: string;
  /** Steps of the simulation, and the world's times: when the process took it, and when it answered. */
  takenStep: number;
  takenMs: number;
  answeredStep: number;
  answeredMs: number;
  outcome: Outcome;
  told: Told | undefined;
  error: string | undefined;
}

interface WatchedEvent {
  readonly revision: number;
  readonly key: string;
  readonly value: string;
  readonly deleted: boolean;
}

/** What one watch saw, over all the streams that it had. */
export interface Watched {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** Stretches without a gap: a new one begins where a compaction was in the way. */
  readonly stretches: { readonly startRevision: number; readonly events: WatchedEvent[] }[];
  /** Events of the next response must be of this revision or later. */
  nextRevision: number;
}

export interface History {
  readonly operations: Operation[];
  readonly watches: Watched[];
}
