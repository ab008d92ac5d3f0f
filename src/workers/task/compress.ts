import { compress } from '@mongodb-js/zstd';
import { asBuffer } from '../../shared/base/bytes.ts';

/** `body` as one zstd frame. */
export async function compressBody(body: Uint8Array, level: number): Promise<Uint8Array> {
  return compress(asBuffer(body), level);
}
