import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Leadership, ReadGate } from '../../src/main/commit/read-gate.ts';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
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

  describe('of a process that may not lead', () => {
    function ledGate(): ReturnType<typeof gateAt> & {
      become(leadership: Leadership): void;
      lead(name: string): void;
    } {
      const clock = new ManualClock();
      let leadership: Leadership = 'lapsed';
      const gate = new ReadGate(clock, 1000, 5, () => leadership);
      const seen: string[] = [];
      const say = (name: string) => (error: Error | undefined) =>
        void seen.push(error === undefined ? name : `${name}: ${error.message}`);
      return {
        gate,
        clock,
        seen,
        enter: (name) => gate.enter(say(name)),
        lead: (name) => gate.lead(say(name)),
        become: (next) => {
          leadership = next;
        },
      };
    }

    it('holds linearizable reads while the lease has run out, and lets them through when it is renewed', () => {
      const { gate, seen, enter, lead, become } = ledGate();
      enter('read');
      lead('keep-alive');
      gate.enter(() => void seen.push('serializable'), true);
      assert.deepEqual([seen, gate.waiting], [['serializable'], 2]);
      gate.leadershipChanged();
      assert.deepEqual(seen, ['serializable']);
      become('leading');
      gate.leadershipChanged();
      assert.deepEqual([seen, gate.waiting], [['serializable', 'read', 'keep-alive'], 0]);
    });

    it('asks at the moment of the read, not when the lease was last looked at', () => {
      const { seen, enter, become } = ledGate();
      become('leading');
      enter('one');
      become('lapsed');
      enter('two');
      assert.deepEqual(seen, ['one']);
    });

    it('still waits for what is durable when the lease is back', () => {
      const { gate, seen, enter, become } = ledGate();
      gate.durableTo(6);
      enter('read');
      become('leading');
      gate.sweep();
      assert.deepEqual([seen, gate.waiting], [[], 1]);
      gate.appliedTo(6);
      assert.deepEqual(seen, ['read']);
    });

    it('fails what waited too long for the lease, once', () => {
      const { gate, clock, seen, enter } = ledGate();
      enter('early');
      clock.advance(600);
      enter('late');
      clock.advance(500);
      gate.sweep();
      gate.sweep();
      assert.deepEqual([seen, gate.waiting], [['early: etcdserver: request timed out'], 1]);
    });

    it('refuses on a standby, and after an abort, what waits and what comes', () => {
      const { gate, seen, enter, become } = ledGate();
      enter('waits');
      become('standby');
      enter('comes');
      become('leading');
      gate.durableTo(6);
      enter('waits to be applied');
      gate.abort(new EtcdError('Stopped'));
      enter('after');
      assert.deepEqual(seen, [
        'comes: etcdserver: no leader',
        'waits: etcdserver: server stopped',
        'waits to be applied: etcdserver: server stopped',
        'after: etcdserver: server stopped',
      ]);
    });
  });
});
