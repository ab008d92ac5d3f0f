import { encodeFile } from '../../src/shared/format/encode.ts';
import { Operation, operationRecord, systemRecord } from '../../src/shared/model/record.ts';
import type { LoadedChunk } from '../../src/workers/contract/writer.ts';
import { sampleHeader } from '../format/samples.ts';

/** Where the log goes on behind `firstChunk`. */
export const SKIP_TO = 66;

/** Every log begins with an epoch; this one has entries of the server's own state besides. */
export function firstChunk(): LoadedChunk {
  const epoch = { epoch: 1, skipTo: SKIP_TO, holder: 'test', clusterId: 0x9234_5678_9abc_def0n };
  const file = encodeFile(sampleHeader({ sequence: 1, previousChunkCrc: 0n }), [
    { ...operationRecord(Operation.Epoch, 1), epoch },
    systemRecord({ name: 'other/one', value: Buffer.from([1, 2, 3]) }, 1),
    systemRecord({ name: 'other/empty', value: Buffer.alloc(0) }, 1),
    systemRecord({ name: 'other/gone', value: Buffer.from('x') }, 1),
    systemRecord({ name: 'other/gone', value: undefined }, 1),
  ]);
  const { header, body, crc } = file;
  return {
    sequence: 1,
    records: 5,
    header,
    body,
    createdAtMs: 1,
    previousChunkCrc: 0n,
    crc,
    skipTo: SKIP_TO,
    lastRevision: 0,
  };
}
