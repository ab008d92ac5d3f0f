import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decompress } from '@mongodb-js/zstd';
import { asBuffer } from '../../src/shared/base/bytes.ts';
import { type DecodedBody, decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import { type DecodedHeader, FileCompression } from '../../src/shared/format/file.ts';
import { checkZstdFrames, decompressionError } from '../../src/shared/format/zstd-frame.ts';

/** Files that Netsy for Go wrote. Tests run from the repository's root, as npm runs them. */
const ROOT = join('test', 'fixtures', 'netsy-go');
export const FIXTURE_SNAPSHOT = join(ROOT, 'snapshots', '0000000000000000040.netsy');

const BODY_BYTES_MAX = 1 << 24;

/** Paths of all its chunks, in the order of their revisions. */
export function fixtureChunks(): string[] {
  const folder = join(ROOT, 'chunks');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.netsy'))
    .sort()
    .map((name) => join(folder, name));
}

/** What etcdctl said of the keys at the end; keys and values in base64. */
export function expectedKeys(): { key: string; value: string }[] {
  return JSON.parse(readFileSync(join(ROOT, 'expected-range.json'), 'utf8')).kvs;
}

/** Decodes a whole object as callers do: header, bound, decompression, body. */
export async function decodeObject(
  object: Uint8Array,
  name: string,
): Promise<DecodedBody & { header: DecodedHeader }> {
  const { header, bodyOffset } = decodeHeader(object, name);
  let body = object.subarray(bodyOffset);
  if (header.compression === FileCompression.Zstd) {
    checkZstdFrames(object, header, name, BODY_BYTES_MAX);
    body = await decompress(asBuffer(body)).catch((error: Error) => {
      throw decompressionError(header, name, error.message);
    });
  }
  return { header, ...decodeBody(body, header, name) };
}
