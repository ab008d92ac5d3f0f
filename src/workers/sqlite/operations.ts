import type { OperationCounts } from '../contract/writer.ts';

/** To count with. */
export function noOperations(): OperationCounts {
  return { puts: 0, deletes: 0, ranges: 0, txns: 0, putBytes: 0 };
}
