import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LogRecord, Operation, operationRecord } from '../../src/shared/model/record.ts';
import { Applier } from '../../src/workers/sqlite/apply.ts';
import { type Connection, openToWrite } from '../../src/workers/sqlite/database.ts';
import { temporaryDirectory } from '../support/netsy.ts';

/** The log before its first epoch is an import: what is let through there, and nowhere else. */

const none = operationRecord(Operation.KeyValue, 0);
const key = Buffer.from('k');

const change = (revision: number, sub = 0, more: Partial<LogRecord> = {}): LogRecord => ({
  ...none,
  ...{ revision, sub, key, createRevision: 2, version: 3 },
  ...more,
});
const lease: LogRecord = { ...none, operation: Operation.LeaseGrant, lease: 7n, leaseTtlSeconds: 60 };
const compaction = (compactRevision: number): LogRecord => ({
  ...none,
  operation: Operation.Compaction,
  compactRevision,
});
const end = (revision: number, records: number, leases = 0): LogRecord => ({
  ...none,
  operation: Operation.ImportEnd,
  importEnd: { revision, records, leases },
});
const claim = (epoch: number, skipTo: number): LogRecord => ({
  ...none,
  operation: Operation.Epoch,
  epoch: { epoch, skipTo, holder: 'test', clusterId: 1n },
});

/** Applies chunks of these records at the sequences that are due. */
function applied(...chunks: LogRecord[][]): Connection {
  const connection = openToWrite(join(temporaryDirectory(), 'cache.sqlite'));
  let applier = new Applier(connection);
  for (const records of chunks) {
    const sequence = applier.position.nextSequence;
    applier.apply([{ sequence, crc: 0n, changes: records.map((record) => ({ record })) }]);
    // As by a process that starts in the middle.
    applier = new Applier(connection);
  }
  return connection;
}

function refuses(message: RegExp, ...chunks: LogRecord[][]): void {
  assert.throws(() => applied(...chunks), { name: 'InvariantError', message });
}

test('an import may have gaps among revisions and within one, and ends beyond its last record', () => {
  const deleted = { deleted: true, createRevision: 0, version: 0 };
  const connection = applied(
    [lease, change(5), change(9, 2)],
    [change(9, 4, { key: Buffer.from('l') }), change(12, 0, { ...deleted, key: Buffer.from('gone') })],
    [compaction(14), end(14, 4, 1), claim(1, 70)],
    [change(15, 0, { version: 4 })],
  );
  const position = connection.prepare('SELECT epoch, revision, compact_revision FROM log_position').get();
  assert.deepEqual(position, { epoch: 1, revision: 15, compact_revision: 14 });
  const rows = connection.prepare('SELECT revision, sub, previous_id FROM history ORDER BY id').raw().all();
  assert.deepEqual(rows, [
    [5, 0, 0],
    [9, 2, 1],
    [9, 4, 0],
    [12, 0, 0],
    [15, 0, 2],
  ]);
  connection.close();
});

test('within an import revisions and their parts only rise', () => {
  refuses(/revision 4\.0 can't follow revision 5/, [change(5), change(4)]);
  refuses(/revision 5\.2 can't follow revision 5/, [change(5, 2), change(5, 2)]);
  refuses(/revision 5\.1 can't follow revision 5/, [change(5, 2)], [change(5, 1)]);
});

test('after the first epoch a gap, or a change of what is not there, is a broken log', () => {
  const imported = [change(5), end(5, 1), claim(1, 70)];
  refuses(/revision 7\.0 can't follow revision 5/, imported, [change(7)]);
  refuses(/6\.0 changes a key that does not exist/, imported, [change(6, 0, { key: Buffer.from('x') })]);
});

test('an import that is not what its end says is refused', () => {
  refuses(
    /has 1 records, 0 leases and revision 5 instead of 2, 0 and 5/,
    [change(5)],
    [end(5, 2), claim(1, 70)],
  );
  refuses(/1 leases and revision 5 instead of 1, 2 and/, [lease, change(5), end(5, 1, 2), claim(1, 70)]);
  refuses(/revision 5 instead of 1, 0 and 4/, [change(5), end(4, 1), claim(1, 70)]);
  refuses(/compacted beyond its revision 5/, [change(5), compaction(6), end(5, 1), claim(1, 70)]);
});

test('the first epoch comes with the end of the import before it, and an import ends once', () => {
  refuses(/chunk 2 has the first epoch of a log that has records before it/, [change(5)], [claim(1, 70)]);
  refuses(/chunk 1 ends an import without an epoch/, [change(5), end(5, 1)]);
  refuses(/an import ends in the middle of a log/, [claim(1, 70)], [end(1, 0), claim(2, 140)]);
});
