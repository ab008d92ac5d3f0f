import { decodeHeader } from '../../src/shared/format/decode.ts';
import { type LoadedChunk, WriteKind } from '../../src/workers/contract/writer.ts';
import { putRequest } from '../support/writes.ts';
import { LocalWriter } from '../workers/local-writer.ts';

/**
 * A cache of another store, whose log began as this one's (`first` is the first chunk of both) and then went on with
 * other writes: as where one was copied and both were written to.
 */
export function makeForeignCache(file: string, first: Uint8Array, writes: number): void {
  const { bodyOffset } = decodeHeader(first, 'first chunk');
  const writer = new LocalWriter(file);
  const [header, body] = [first.slice(0, bodyOffset), first.slice(bodyOffset)];
  // What else there is to a chunk is for those who read it from a store.
  writer.load([{ sequence: 1, header, body } as LoadedChunk]);
  writer.begin();
  for (let write = 1; write <= writes; write++) {
    writer.evaluate([{ kind: WriteKind.Put, request: putRequest('a', `foreign ${write}`) }]);
    writer.apply(writer.chunks[writer.chunks.length - 1]!.sequence);
  }
  writer.close();
}
