import { PART_BYTES } from './s3-multipart.ts';

/** What S3 Standard in us-east-1 takes (storage: the first 50 TB), as AWS published it in 2025. Deletes are free. */
export const S3_STANDARD_DOLLARS = {
  perGbMonth: 0.023,
  /** A list is billed like a PUT. */
  per1000Puts: 0.005,
  per1000Gets: 0.0004,
};

/** Beside the parts of an object: a request that begins it, one that ends it. */
const PUTS_AROUND_PARTS = 2;

/** The requests billed as PUTs that `putMultipart` makes of an object of so many bytes: what fits into one part is one. */
export function putsOf(bytes: number): number {
  return bytes <= PART_BYTES ? 1 : Math.ceil(bytes / PART_BYTES) + PUTS_AROUND_PARTS;
}
