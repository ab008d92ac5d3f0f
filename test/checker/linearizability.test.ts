import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Seeded } from '../support/seeded.ts';
import { bruteForce } from './brute-force.ts';
import {
  REGISTERS,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
  type RevisionOperation,
  revisionProblem,
} from './etcd-models.ts';
import { checkLinearizable, type Model } from './linearizability.ts';
import { changedInOnePlace, simulatedHistory } from './random-histories.ts';

const key = 'k';
const LOST = Number.POSITIVE_INFINITY;
const put = (value: string): RegisterInput => ({ key, kind: 'put', value });
const get: RegisterInput = { key, kind: 'get' };
const swap = (expected: number, value: string): RegisterInput => ({ key, kind: 'swap', expected, value });
const remove: RegisterInput = { key, kind: 'delete' };
const written = (revision: number): RegisterOutput => ({ kind: 'written', revision });
const found = (value: string, modRevision: number, version: number): RegisterOutput => ({
  kind: 'found',
  value,
  modRevision,
  version,
});
const absent: RegisterOutput = { kind: 'absent' };
const refused: RegisterOutput = { kind: 'refused' };

const op = (
  call: number,
  back: number,
  input: RegisterInput,
  output?: RegisterOutput,
): RegisterOperation => ({ call, return: back, input, output });

const verdict = (history: readonly RegisterOperation[]): string => checkLinearizable(REGISTERS, history).kind;

const LINEARIZABLE: Readonly<Record<string, readonly RegisterOperation[]>> = {
  'nothing at all': [],
  'one after the other': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, get, found('a', 2, 1)),
    op(5, 6, swap(2, 'b'), written(3)),
    op(7, 8, swap(2, 'c'), refused),
    op(9, 10, remove, written(5)),
    op(11, 12, remove, refused),
    op(13, 14, get, absent),
    op(15, 16, swap(0, 'd'), written(6)),
    op(17, 18, get, found('d', 6, 1)),
  ],
  'a read beside a write sees it, a later one beside it too': [
    op(1, 10, put('a'), written(2)),
    op(2, 3, get, absent),
    op(4, 5, get, found('a', 2, 1)),
    op(6, 7, get, found('a', 2, 1)),
  ],
  'writes that return in another order than they happened in': [
    op(1, 9, put('a'), written(3)),
    op(2, 8, put('b'), written(2)),
    op(10, 11, get, found('a', 3, 2)),
  ],
  'a write whose answer was lost is seen late': [
    op(1, LOST, put('a')),
    op(2, 3, get, absent),
    op(100, 101, get, found('a', 7, 1)),
    op(102, 103, get, found('a', 7, 1)),
  ],
  'a write whose answer was lost is never seen': [
    op(1, LOST, put('a')),
    op(2, 3, put('b'), written(2)),
    op(4, 5, get, found('b', 2, 1)),
  ],
  'between two writes there was a lost one, as the version shows': [
    op(1, 2, put('a'), written(2)),
    op(1, LOST, put('b')),
    op(3, 4, put('c'), written(9)),
    op(5, 6, get, found('c', 9, 3)),
  ],
  'what became of a lost swap is learned from a later one': [
    op(1, 2, put('a'), written(2)),
    op(3, LOST, swap(2, 'b')),
    op(4, 5, swap(2, 'c'), refused),
    op(6, 7, swap(5, 'd'), written(8)),
    op(8, 9, get, found('d', 8, 3)),
  ],
  'a write with a known revision whose answer was lost': [
    op(1, LOST, put('a'), written(4)),
    op(2, 3, get, found('a', 4, 1)),
  ],
  'an answer at the very time of a call counts as concurrent': [
    op(1, 2, put('a'), written(2)),
    op(2, 3, get, absent),
  ],
};

const NOT_LINEARIZABLE: Readonly<Record<string, readonly RegisterOperation[]>> = {
  'a stale read': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, put('b'), written(3)),
    op(5, 6, get, found('a', 2, 1)),
  ],
  'a stale read of nothing': [op(1, 2, put('a'), written(2)), op(3, 4, get, absent)],
  'two reads beside a write that go back': [
    op(1, 10, put('a'), written(2)),
    op(2, 3, get, found('a', 2, 1)),
    op(4, 5, get, absent),
  ],
  'a lost update: two swaps of one revision': [
    op(1, 2, put('a'), written(2)),
    op(3, 9, swap(2, 'b'), written(3)),
    op(4, 8, swap(2, 'c'), written(4)),
  ],
  'a lost update: the version counts one write less': [
    op(1, 9, put('a'), written(2)),
    op(1, 9, put('b'), written(3)),
    op(10, 11, get, found('b', 3, 1)),
  ],
  'a read of a write that failed for certain': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, swap(7, 'b'), refused),
    op(5, 6, get, found('b', 3, 2)),
  ],
  'a read of a value that nobody wrote': [op(1, 2, get, found('x', 2, 1))],
  'a write that moved across its return': [
    op(1, 2, put('a'), written(3)),
    op(3, 4, put('b'), written(2)),
    op(5, 6, get, found('a', 3, 2)),
  ],
  'two writes with one revision': [op(1, 5, put('a'), written(2)), op(2, 6, put('b'), written(2))],
  'a lost write is seen before it was called': [op(1, 2, get, found('a', 2, 1)), op(3, LOST, put('a'))],
  'a lost write is seen, and then is not there': [
    op(1, LOST, put('a')),
    op(2, 3, get, found('a', 2, 1)),
    op(4, 5, get, absent),
  ],
  'a lost write is seen at two revisions': [
    op(1, LOST, put('a')),
    op(2, 3, get, found('a', 2, 1)),
    op(4, 5, get, found('a', 3, 1)),
  ],
  'a lost write fits between no two revisions': [
    op(1, 2, put('a'), written(2)),
    op(3, LOST, put('b')),
    op(4, 5, put('c'), written(3)),
    op(6, 7, get, found('c', 3, 3)),
  ],
  'a swap was refused though nothing had changed': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, swap(2, 'b'), refused),
  ],
  'a delete found nothing where something was': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, remove, refused),
    op(5, 6, get, found('a', 2, 1)),
  ],
  'a split brain: two primaries each with its own next value': [
    op(1, 2, put('a'), written(2)),
    op(3, 6, put('left'), written(3)),
    op(3, 6, put('right'), written(3)),
    op(7, 8, get, found('left', 3, 2)),
    op(7, 8, get, found('right', 3, 2)),
  ],
  'a split brain: a fenced primary still reads its own state': [
    op(1, 2, put('a'), written(2)),
    op(3, 4, put('b'), written(3)),
    op(5, 9, get, found('a', 2, 1)),
    op(5, 9, get, found('b', 3, 2)),
  ],
};

describe('the linearizability checker', () => {
  for (const [name, history] of Object.entries(LINEARIZABLE)) {
    it(`accepts: ${name}`, () => {
      assert.equal(verdict(history), 'linearizable');
      assert.equal(bruteForce(REGISTERS, history), true);
    });
  }
  for (const [name, history] of Object.entries(NOT_LINEARIZABLE)) {
    it(`refuses: ${name}`, () => {
      assert.equal(verdict(history), 'not linearizable');
      assert.equal(bruteForce(REGISTERS, history), false);
    });
  }

  it('names the partition, the order it found and what does not fit', () => {
    const a = op(1, 2, put('a'), written(2));
    const stale = op(3, 4, get, absent);
    const other = {
      ...op(1, 2, put('x'), written(3)),
      input: { key: 'other', kind: 'put', value: 'x' } as const,
    };
    const found = checkLinearizable(REGISTERS, [other, a, stale]);
    assert.ok(found.kind === 'not linearizable');
    assert.deepEqual([found.partition, found.order, found.stuck], [key, [a], stale]);
  });

  it('gives up when its budget is spent, and still refuses what another partition shows', () => {
    // Values alone, written all at once: any order will do, and none gives what was read.
    const crowd = Array.from({ length: 24 }, (_, index) => op(1, LOST, put(String(index))));
    const history = [...crowd, op(50, 51, get, found('nobody', 9, 9))];
    assert.equal(checkLinearizable(REGISTERS, history, { stepsMax: 20_000 }).kind, 'unknown');
    const stale = [op(1, 2, put('a'), written(2)), op(3, 4, get, absent)];
    const elsewhere = stale.map((one) => ({ ...one, input: { ...one.input, key: 'other' } }));
    const both = checkLinearizable(REGISTERS, [...history, ...elsewhere], { stepsMax: 20_000 });
    assert.equal(both.kind, 'not linearizable');
  });

  it('tries every state that a step may lead to', () => {
    const coin: Model<string, 'flip' | 'look', string> = {
      init: () => 'heads',
      equal: (left, right) => left === right,
      step: (state, input, output) => {
        if (input === 'flip') return ['heads', 'tails', 'edge'];
        return output === state ? [state] : [];
      },
    };
    const flip = { input: 'flip', output: 'done', call: 1, return: 2 } as const;
    const look = (output: string, at: number) =>
      ({ input: 'look', output, call: at, return: at + 1 }) as const;
    for (const side of ['heads', 'tails', 'edge'])
      assert.equal(checkLinearizable(coin, [flip, look(side, 3), look(side, 5)]).kind, 'linearizable');
    const twoSides = [flip, look('tails', 3), look('edge', 5)];
    assert.equal(checkLinearizable(coin, twoSides).kind, 'not linearizable');
  });

  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('accepts what 16 clients of an atomic register saw, 2,000 operations on a key, answers lost or not', (test) => {
    test.diagnostic(`SEED=${seed}`);
    const random = new Seeded(seed);
    for (const lost of [0, 0.01, 0.05]) {
      const history = simulatedHistory(random, { operations: 4_000, clients: 16, keys: 2, lost });
      const found = checkLinearizable(REGISTERS, history);
      test.diagnostic(`${lost * 100} % lost: ${found.steps} steps`);
      assert.equal(found.kind, 'linearizable');
    }
  });

  it('refuses long histories with one wrong read', () => {
    const random = new Seeded(seed + 1);
    for (let round = 0; round < 20; round++) {
      const history = simulatedHistory(random, { operations: 1_000, clients: 16, keys: 1, lost: 0.01 });
      const reads = history.filter(({ output }) => output?.kind === 'found');
      const victim = random.pick(reads);
      const output = { ...victim.output, version: 100_000 } as RegisterOutput;
      const wrong = history.map((one) => (one === victim ? { ...one, output } : one));
      const found = checkLinearizable(REGISTERS, wrong);
      assert.ok(found.kind === 'not linearizable' || found.kind === 'unknown', `SEED=${seed}: ${found.kind}`);
    }
  });

  it('agrees with every order tried, on small histories and on their mutations', (test) => {
    const random = new Seeded(seed + 2);
    const counts = { linearizable: 0, 'not linearizable': 0, unknown: 0 };
    for (let round = 0; round < 1_500; round++) {
      const options = { operations: random.integer(2, 8), clients: random.integer(1, 5), keys: 1, lost: 0.2 };
      const history = simulatedHistory(random, options);
      assert.equal(verdict(history), 'linearizable', `SEED=${seed}: ${JSON.stringify(history)}`);
      const mutant = changedInOnePlace(random, history);
      const found = checkLinearizable(REGISTERS, mutant).kind;
      counts[found]++;
      const expected = bruteForce(REGISTERS, mutant) ? 'linearizable' : 'not linearizable';
      assert.equal(found, expected, `SEED=${seed}: ${JSON.stringify(mutant)}`);
    }
    test.diagnostic(`SEED=${seed}: mutants: ${JSON.stringify(counts)}`);
    assert.ok(counts.linearizable > 50 && counts['not linearizable'] > 50, JSON.stringify(counts));
  });
});

describe('the checker of main revisions', () => {
  const at = (kind: 'write' | 'read', revision: number, call: number, back: number): RevisionOperation => ({
    kind,
    revision,
    call,
    return: back,
  });
  const fine: readonly (readonly RevisionOperation[])[] = [
    [],
    [at('write', 2, 1, 2), at('read', 2, 3, 4), at('read', 2, 5, 6), at('write', 3, 7, 8)],
    [at('write', 3, 1, 9), at('write', 2, 2, 8), at('read', 1, 3, 4), at('read', 3, 4, 5)],
  ];
  const wrong: Readonly<Record<string, readonly RevisionOperation[]>> = {
    'two writes with one revision': [at('write', 2, 1, 9), at('write', 2, 2, 8)],
    'a write below one that had returned': [at('write', 3, 1, 2), at('write', 2, 3, 4)],
    'a read below a write that had returned': [at('write', 3, 1, 2), at('read', 2, 3, 4)],
    'a write at what had been read': [at('read', 3, 1, 2), at('write', 3, 3, 4)],
    'reads that go back': [at('write', 3, 1, 9), at('read', 3, 2, 3), at('read', 2, 4, 5)],
  };
  for (const [index, history] of fine.entries()) {
    it(`accepts history ${index}`, () => assert.equal(revisionProblem(history), undefined));
  }
  for (const [name, history] of Object.entries(wrong)) {
    it(`refuses: ${name}`, () => assert.ok(revisionProblem(history) !== undefined));
  }
});
