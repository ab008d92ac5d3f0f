/**
 * A frame larger than this share of its input was not worth the time: a chunk is compressed again when it is merged, and
 * deleted. On two cores zstd took a seventh of the processor's time where it saved a quarter of the bytes.
 */
const WORTHWHILE_RATIO = 0.65;
/** After one that was not worth it, so many large chunks go uncompressed before the next try. */
const SKIP_AFTER_POOR = 64;
/** Below this the thread hop costs more than the bytes saved: at 15 KiB it added milliseconds to each upload. */
const COMPRESS_BYTES_MIN = 64 * 1024;

/** Compresses where it pays: tries now and then, and stops when values turn out to be incompressible. */
export class CompressionPolicy {
  #skip = 0;

  /** From how many bytes on the next chunk is to be compressed; Infinity for not at all. */
  bytesMin(): number {
    if (this.#skip === 0) return COMPRESS_BYTES_MIN;
    this.#skip--;
    return Number.POSITIVE_INFINITY;
  }

  /** Learns from a compressed chunk. */
  record(bytesBefore: number, bytesAfter: number): void {
    if (bytesAfter > bytesBefore * WORTHWHILE_RATIO) this.#skip = SKIP_AFTER_POOR;
  }
}
