import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AnswerRoom, AnswerRooms } from '../../src/main/state/answer-rooms.ts';

const MAX = 1024 * 1024;
/** Four connections' worth. */
const ALL = 4 * MAX;

interface Call {
  readonly wanted: { gone: boolean };
  outcome: 'waits' | 'goes' | 'dropped';
}

function waiting(room: AnswerRoom, forList = false): Call {
  const call: Call = { wanted: { gone: false }, outcome: 'waits' };
  const end = (outcome: 'goes' | 'dropped') => () => {
    assert.equal(call.outcome, 'waits', 'it ends once');
    call.outcome = outcome;
  };
  room.wait({ wanted: call.wanted, go: end('goes'), drop: end('dropped') }, forList);
  return call;
}

describe('the room for answers that clients have not taken', () => {
  it('of a connection is not filled by one answer, however large, and by lists sooner than by others', () => {
    const room = new AnswerRooms(MAX).open();
    room.fill(2 * MAX);
    assert.deepEqual([room.isFull(false), room.isFull(true)], [false, false]);
    room.fill(MAX / 8);
    assert.deepEqual([room.isFull(false), room.isFull(true)], [false, true]);
    room.fill(MAX);
    assert.deepEqual([room.isFull(false), room.isFull(true)], [true, true]);
    const [other, list] = [waiting(room), waiting(room, true)];
    room.empty(MAX);
    assert.deepEqual([other.outcome, list.outcome], ['goes', 'waits']);
    room.empty(MAX / 8);
    assert.equal(list.outcome, 'goes');
  });

  it('of all lets each connection have a little, and wakes whoever waits when it is not full any more', () => {
    const rooms = new AnswerRooms(MAX);
    const [large, middle, small] = [rooms.open(), rooms.open(), rooms.open()];
    middle.fill(MAX / 2);
    small.fill(1000);
    assert.deepEqual([middle.isFull(false), small.isFull(false)], [false, false]);
    large.fill(ALL);
    assert.deepEqual([middle.isFull(false), small.isFull(false)], [true, false]);
    const call = waiting(middle);
    assert.equal(rooms.waiting, 1);
    large.empty(ALL);
    assert.deepEqual([call.outcome, rooms.waiting, rooms.bytes], ['goes', 0, MAX / 2 + 1000]);
  });

  it('keeps no call that nobody waits for, and none of a connection that is gone', () => {
    const rooms = new AnswerRooms(MAX);
    const room = rooms.open();
    room.fill(ALL);
    const gone = Array.from({ length: 999 }, () => waiting(room));
    for (const { wanted } of gone) wanted.gone = true;
    const last = waiting(room);
    assert.deepEqual(
      [new Set(gone.map(({ outcome }) => outcome)), last.outcome],
      [new Set(['dropped']), 'waits'],
    );
    room.close();
    assert.deepEqual([last.outcome, rooms.bytes, rooms.waiting], ['dropped', 0, 0]);
    assert.equal(waiting(room).outcome, 'dropped');
    room.fill(5);
    room.empty(5);
    assert.equal(rooms.bytes, 0);
  });

  it('lets every call go in the end, whatever comes and leaves in whatever order', () => {
    const step = fc.record({
      room: fc.nat(2),
      kind: fc.constantFrom('fill', 'fill', 'empty', 'wait', 'list'),
      bytes: fc.constantFrom(0, 1000, MAX / 16, MAX / 2, MAX, 3 * MAX),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const rooms = new AnswerRooms(MAX);
        const opened = [0, 1, 2].map(() => ({ room: rooms.open(), answers: [] as number[] }));
        const calls: Call[] = [];
        for (const { room: at, kind, bytes } of steps) {
          const { room, answers } = opened[at]!;
          if (kind === 'fill') {
            room.fill(bytes);
            answers.push(bytes);
          } else if (kind === 'empty') {
            const left = answers.shift();
            if (left !== undefined) room.empty(left);
          } else if (room.isFull(kind === 'list')) calls.push(waiting(room, kind === 'list'));
          const sum = opened.flatMap((one) => one.answers).reduce((a, b) => a + b, 0);
          assert.equal(rooms.bytes, sum);
          assert.equal(rooms.waiting, calls.filter(({ outcome }) => outcome === 'waits').length);
        }
        for (const { room, answers } of opened) for (const bytes of answers) room.empty(bytes);
        assert.ok(calls.every(({ outcome }) => outcome === 'goes'));
      }),
    );
  });
});
