import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { READS_MAX } from '../../shared/model/limits.ts';

/**
 * What `open` makes of `bytes`. What it finds damaged may have been cut short on its way, as by a proxy, and be whole in
 * the store: so it is read again, by `get`, before the damage is believed. Rejects as `open` and `get` do.
 */
export async function openOrReadAgain<T>(
  bytes: Uint8Array,
  get: () => Promise<Uint8Array | undefined>,
  open: (bytes: Uint8Array) => Promise<T> | T,
): Promise<T> {
  let last = bytes;
  for (let reads = 1; ; reads++) {
    try {
      return await open(last);
    } catch (error) {
      if (!(error instanceof CorruptFileError) || reads === READS_MAX) throw error;
      const again = await get();
      if (again === undefined) throw error;
      last = again;
    }
  }
}
