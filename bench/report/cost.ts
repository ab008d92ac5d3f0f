import type { StoreStats } from '../store/slow-store.ts';

/** What one storage class asks for writing, in US dollars (AWS's price list for us-east-1, 2025-04 and since). */
export interface Prices {
  readonly name: string;
  readonly perThousandPuts: number;
  /** Per GiB sent with PUTs. */
  readonly perUploadedGiB: number;
}

export const S3_STANDARD: Prices = { name: 'S3 Standard', perThousandPuts: 0.005, perUploadedGiB: 0 };
export const S3_EXPRESS: Prices = {
  name: 'S3 Express One Zone',
  perThousandPuts: 0.00113,
  perUploadedGiB: 0.0032,
};

/**
 * Dollars for the PUTs of a million writes, when `writes` of them took these. Every PUT counts, a hedge or a refused
 * one too, since S3 bills them; storage, reads and lists are not in it. Undefined of no writes.
 */
export function costPerMillionWrites(
  prices: Prices,
  stats: Pick<StoreStats, 'puts' | 'putBytes'>,
  writes: number,
): number | undefined {
  if (writes === 0) return undefined;
  const cost =
    (stats.puts / 1000) * prices.perThousandPuts + (stats.putBytes / 2 ** 30) * prices.perUploadedGiB;
  return (cost / writes) * 1_000_000;
}
