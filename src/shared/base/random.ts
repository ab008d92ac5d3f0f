import { randomBytes } from 'node:crypto';

/** Randomness comes from here and nowhere else, so that a simulation can own it. */
export interface Random {
  /** A number in [0, 1). */
  fraction(): number;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}

/** The machine's own randomness. */
export const systemRandom: Random = {
  fraction: () => Math.random(),
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/** A random integer in [1, 2^63), as etcd chooses lease, member and cluster ids. */
export function randomId(random: Random): bigint {
  const view = new DataView(random.bytes(8).buffer);
  return view.getBigUint64(0) & 0x7fff_ffff_ffff_ffffn || 1n;
}
