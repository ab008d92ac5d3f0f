import { NO_BYTES } from '../../shared/base/bytes.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { decodePiece } from '../../shared/format/snapshot.ts';
import { type LogRecord, Operation, systemChange } from '../../shared/model/record.ts';
import { kvOfRecord } from '../contract/chunk-rows.ts';
import { SnapshotRowWriter } from '../contract/snapshot-rows.ts';
import type { SnapshotPiece, TaskRequest } from '../contract/task.ts';
import { inflateFrame } from './open.ts';

/** Decompresses a piece of a snapshot and checks every CRC in it. Throws `CorruptFileError`. */
export async function openPiece(task: Extract<TaskRequest, { type: 'piece' }>): Promise<SnapshotPiece> {
  const { name, offset, frame, keep } = task;
  const body = await inflateFrame(frame, name, offset);
  const rows = new SnapshotRowWriter();
  const piece: Omit<SnapshotPiece, 'tally'> = { rows: NO_BYTES, leases: [], system: [] };
  const tally = decodePiece(body, name, offset, (record) => {
    checkKind(record, name, offset);
    if (!keep) return;
    if (record.operation === Operation.KeyValue) rows.add(record, kvOfRecord(record));
    else if (record.operation === Operation.System) {
      // A copy: the change is sent away, and with a view all of the piece would be.
      const { name, value } = systemChange(record);
      piece.system.push({ name, value: value?.slice() });
    } else piece.leases.push({ id: record.lease, ttlSeconds: record.leaseTtlSeconds ?? 0 });
  });
  piece.rows = rows.finish();
  return { ...piece, tally };
}

/** A snapshot is a state: it has no revokes, no compactions, no epochs. */
function checkKind(record: LogRecord, name: string, offset: number): void {
  const { operation } = record;
  const place = { object: name, part: 'record', index: undefined, offset } as const;
  const isState = operation === Operation.LeaseGrant || operation === Operation.System;
  if (operation !== Operation.KeyValue && !isState) {
    throw new CorruptFileError(place, 'operation', 'a put, delete, lease or system entry', String(operation));
  }
}
