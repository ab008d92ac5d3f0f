import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { IntervalTree } from '../../src/main/watch/interval-tree.ts';

const bound = fc.string({ unit: fc.constantFrom('\0', 'a', 'b', '\xff'), maxLength: 3 });
const interval = fc.record({ start: bound, end: fc.option(bound, { nil: null, freq: 4 }) });
const step = fc.record({ interval, remove: fc.boolean() });

const inside = (start: string, end: string | null, point: string): boolean =>
  start <= point && (end === null || point < end);

test('an interval tree that grows and shrinks finds exactly the intervals around a point, and stays balanced', () => {
  const property = fc.property(fc.array(step, { maxLength: 200 }), fc.array(bound), (steps, points) => {
    const tree = new IntervalTree<string>();
    const model = new Map<string, { start: string; end: string | null }>();
    for (const { interval, remove } of steps) {
      const name = JSON.stringify([interval.start, interval.end]);
      if (remove) assert.equal(tree.delete(interval.start, interval.end), model.delete(name));
      else {
        tree.set(interval.start, interval.end, name);
        model.set(name, interval);
      }
      tree.check();
      assert.equal(tree.size, model.size);
      assert.equal(tree.get(interval.start, interval.end), remove ? undefined : name);
    }
    for (const point of points) {
      const found: string[] = [];
      tree.stab(point, found);
      const expected = [...model].filter(([, { start, end }]) => inside(start, end, point));
      assert.deepEqual(found.sort(), expected.map(([name]) => name).sort());
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test('ordered inserts, the worst case of a plain tree, keep the tree balanced', () => {
  const tree = new IntervalTree<number>();
  for (let at = 0; at < 5000; at++) tree.set(String(at).padStart(5, '0'), null, at);
  tree.check();
  for (let at = 0; at < 4990; at++) tree.delete(String(at).padStart(5, '0'), null);
  tree.check();
  const found: number[] = [];
  tree.stab('04992', found);
  assert.deepEqual(found, [4990, 4991, 4992]);
});
