import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BatchWindow } from '../../src/main/commit/window.ts';

/** A window of 8 ms to which writes come every `pauseMs` until the time 1000. */
function fed(pauseMs: number, putMs?: number): BatchWindow {
  const window = new BatchWindow(8, () => putMs);
  for (let now = 0; now <= 1000; now += pauseMs) window.arrived(now);
  return window;
}

describe('the window of a batch', () => {
  it('is the whole of it while writes keep coming, however long ago the last one was for their pace', () => {
    assert.equal(fed(1).dueMs(998), 998 + 4 + 2);
    assert.equal(fed(2).dueMs(996), 1004);
    assert.equal(fed(50).dueMs(1000), 1008);
  });

  it('ends when none came for four times as long as lately between two', () => {
    const window = fed(0.25);
    assert.equal(window.dueMs(999.5), 1001);
    window.arrived(1000.25);
    assert.equal(window.dueMs(999.5), 1001.25);
  });

  it('never ends at the next write because a burst came', () => {
    const window = fed(1);
    for (let write = 0; write < 100; write++) window.arrived(1001);
    assert.equal(window.dueMs(1001), 1001.5);
  });

  it('is at most 0.4 of what a PUT takes, but not less than 2 ms, nor more than was set', () => {
    const due = [1, 10, 20, 1000].map((putMs) => fed(50, putMs).dueMs(1000));
    assert.deepEqual(due, [1002, 1004, 1008, 1008]);
    const small = new BatchWindow(1, () => 10);
    small.arrived(5);
    assert.equal(small.dueMs(5), 6);
  });
});
