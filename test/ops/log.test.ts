import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLog, type LogFormat, type LogLevel } from '../../src/main/ops/log.ts';
import type { Log } from '../../src/shared/base/log.ts';
import { ManualClock } from '../support/clock.ts';

/** What `body` writes, line by line. */
function lines(level: LogLevel, format: LogFormat, body: (log: Log) => void): string[] {
  let text = '';
  const output = {
    write: (piece: string) => {
      text += piece;
    },
  };
  body(createLog({ level, format, output, clock: new ManualClock() }));
  assert.ok(text === '' || text.endsWith('\n'));
  return text.split('\n').slice(0, -1);
}

describe('log', () => {
  it('writes one JSON object per line, with etcd’s names', () => {
    const [line = ''] = lines('info', 'json', (log) => log.info('ready', { revision: 7 }));
    assert.deepEqual(JSON.parse(line), {
      level: 'info',
      ts: '2023-11-14T22:13:20.000Z',
      revision: 7,
      msg: 'ready',
    });
  });

  it('drops what is below its level', () => {
    const all = (log: Log): void => {
      log.debug('a');
      log.info('b');
      log.warn('c');
      log.error('d');
    };
    assert.equal(lines('debug', 'json', all).length, 4);
    assert.equal(lines('warn', 'json', all).length, 2);
    assert.equal(lines('fatal', 'console', all).length, 0);
  });

  it('writes lines for people, quoting what could be misread', () => {
    const [line] = lines('info', 'console', (log) =>
      log.warn('slow upload', { ms: 12.5, object: 'chunks/1.netsy', why: 'timed out', empty: '', list: [1] }),
    );
    assert.equal(
      line,
      '2023-11-14T22:13:20.000Z WARN  slow upload ms=12.5 object=chunks/1.netsy why="timed out" empty="" list=[1]',
    );
  });

  it('keeps fields that JSON has no word for, and an error’s stack', () => {
    const [line = ''] = lines('info', 'json', (log) =>
      log.error('failed', { lease: 2n ** 62n, key: new Uint8Array([104, 105]), error: new Error('why') }),
    );
    const read = JSON.parse(line) as Record<string, string>;
    assert.equal(read['lease'], '4611686018427387904');
    assert.equal(read['key'], 'aGk=');
    assert.match(read['error'] ?? '', /^Error: why\n {4}at /);
    const shown = lines('info', 'console', (log) => log.error('failed', { error: new Error('why') }));
    assert.match(shown[0] ?? '', / ERROR failed error=Error: why$/);
    assert.match(shown[1] ?? '', /^ {4}at /);
  });
});
