import assert from 'node:assert/strict';
import { it } from 'node:test';
import { noteLog, outputOf, Pace } from '../../src/main/command-output.ts';
import { ManualClock } from '../support/clock.ts';

it('a command says how far it is in whole bytes', () => {
  const clock = new ManualClock();
  const notes: string[] = [];
  const pace = new Pace(clock, { result: () => {}, note: (text) => void notes.push(text) });
  clock.advance(2_000);
  pace.show('following the log', { records: 7, bytes: 126_364.84999999909 }, 0.5);
  assert.deepEqual(notes, ['following the log: 7 records, 126365 bytes, 2 s left']);
});

it('what a command logs has its fields: beside the message with --json, else behind it', (context) => {
  const written: string[] = [];
  context.mock.method(process.stderr, 'write', (line: string) => written.push(line) > 0);
  for (const json of [true, false]) {
    const log = noteLog(outputOf('restore', json, new ManualClock()));
    log.info('loaded a snapshot', { records: 5 });
    log.warn('no answer', { error: 'from http://me:secret@store' });
  }
  const [asJson = '', , asText = ''] = written;
  const { ts: _ts, ...line } = JSON.parse(asJson) as Record<string, unknown>;
  assert.deepEqual(line, { level: 'info', command: 'restore', records: 5, msg: 'loaded a snapshot' });
  assert.equal(asText, 'netsy restore: loaded a snapshot {"records":5}\n');
  assert.deepEqual([/secret/.test(written.join('')), written.length], [false, 4]);
});
