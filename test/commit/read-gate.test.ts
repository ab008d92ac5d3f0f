import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ReadGate } from '../../src/main/commit/read-gate.ts';
import { ManualClock } from '../support/clock.ts';

describe('read gate', () => {
  function gateAt(sequence: number): {
    gate: ReadGate;
    clock: ManualClock;
    seen: string[];
    enter(name: string): void;
  } {
    const clock = new ManualClock();
    const gate = new ReadGate(clock, 1000, sequence);
    const seen: string[] = [];
    const enter = (name: string): void =>
      gate.enter((error) => seen.push(error === undefined ? name : `${name}: ${error.message}`));
    return { gate, clock, seen, enter };
  }

  it('lets a read through at once when everything durable is applied', () => {
    const { seen, enter } = gateAt(5);
    enter('a');
    assert.deepEqual(seen, ['a']);
  });

  it('holds a read until what was durable at its arrival is applied, and not for what came later', () => {
    const { gate, seen, enter } = gateAt(5);
    gate.durableTo(6);
    enter('a');
    gate.durableTo(8);
    enter('b');
    gate.appliedTo(6);
    assert.deepEqual(seen, ['a']);
    gate.appliedTo(7);
    assert.deepEqual(seen, ['a']);
    gate.appliedTo(8);
    assert.deepEqual([seen, gate.waiting], [['a', 'b'], 0]);
  });

  it('holds a serializable read too, so that a client sees its own writes, but not for a disk that is full', () => {
    const { gate, seen, enter } = gateAt(5);
    gate.durableTo(6);
    gate.enter(() => seen.push('serializable'), true);
    enter('linearizable');
    assert.equal(seen.length, 0);
    gate.setStuck(true);
    assert.deepEqual(seen, ['serializable']);
    gate.enter(() => seen.push('another'), true);
    assert.deepEqual([seen, gate.waiting], [['serializable', 'another'], 1]);
    gate.setStuck(false);
    gate.enter(() => seen.push('late'), true);
    gate.appliedTo(6);
    assert.deepEqual(seen, ['serializable', 'another', 'linearizable', 'late']);
  });

  it('fails a read that waited too long, once', () => {
    const { gate, clock, seen, enter } = gateAt(1);
    gate.durableTo(2);
    enter('old');
    clock.advance(900);
    enter('young');
    clock.advance(101);
    gate.sweep();
    assert.deepEqual(seen, ['old: etcdserver: request timed out']);
    gate.appliedTo(2);
    assert.deepEqual(seen.slice(1), ['young']);
  });

  it('refuses to go back, and to apply what is not durable', () => {
    const { gate } = gateAt(3);
    assert.throws(() => gate.durableTo(3));
    assert.throws(() => gate.appliedTo(4));
  });
});
