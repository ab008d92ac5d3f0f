import { asBuffer } from '../../shared/base/bytes.ts';
import { zstd } from './zstd.ts';

/** `body` as one zstd frame. */
export async function compressBody(body: Uint8Array, level: number): Promise<Uint8Array> {
  const { compress } = await zstd();
  return compress(asBuffer(body), level);
}
