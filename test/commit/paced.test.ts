import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CommitOptions } from '../../src/main/commit/pipeline.ts';
import { PutBudget } from '../../src/main/store/put-budget.ts';
import { HeldPipeline, TIMEOUT_MS, WINDOW_MS } from './parts.ts';

/** A pipeline whose PUTs are `perSecond` at most. */
function paced(perSecond: number, options: Partial<CommitOptions> = {}): HeldPipeline {
  return new HeldPipeline(options, (clock) => ({ putBudget: new PutBudget(perSecond, clock) }));
}

/** Ends each upload as soon as it begins. */
async function finishAll(held: HeldPipeline): Promise<void> {
  while (held.uploads.length > 0) await held.finish(held.uploads[0]!.sequence);
}

/** Time passes in small steps, in which uploads end at once. */
async function pass(held: HeldPipeline, durationMs: number): Promise<void> {
  for (let ms = 0; ms < durationMs; ms += 1) {
    await held.advance(1);
    await finishAll(held);
  }
}

describe('commit pipeline under --put-budget', () => {
  it('a lone write of an idle server closes at once', async () => {
    const held = paced(1);
    held.submit('a');
    await held.advance();
    assert.deepEqual(held.batches, [['a']]);
  });

  it('what waits for the budget shares one chunk, past what else fills a batch', async () => {
    const held = paced(1);
    held.submit('a');
    await pass(held, 2);
    for (let write = 0; write < 20; write++) held.submit(`w${write}`);
    await pass(held, WINDOW_MS + 2);
    assert.equal(held.batches.length, 1, 'it has no PUT yet');
    for (let write = 20; write < 40; write++) held.submit(`w${write}`);
    await pass(held, 3_000);
    assert.deepEqual(
      held.batches[1],
      Array.from({ length: 40 }, (_, write) => `w${write}`),
    );
    assert.equal(held.events.filter((event) => event.startsWith('reply')).length, 41);
    assert.ok(held.held.length === 1 && held.held[0]! > 500, `${held.held}`);
  });

  it('a chunk takes four times the bytes that fill a batch; the rest waits for the next PUT', async () => {
    const held = paced(1);
    held.submit('a');
    await pass(held, 2);
    for (let write = 0; write < 9; write++) held.submit(`${write}`.repeat(500));
    await pass(held, 6_000);
    assert.deepEqual(
      held.batches.map(({ length }) => length),
      [1, 8, 1],
    );
  });

  it('batches without a chunk do not use it up', async () => {
    const held = paced(1);
    for (let read = 0; read < 50; read++) {
      held.submit('no-op');
      await pass(held, 2);
    }
    assert.equal(held.batches.length, 50);
  });

  it('a batch that is held closes when the one before turns out to have no chunk', async () => {
    const held = paced(1);
    held.submit('a');
    await pass(held, 1_500);
    held.lead = () => {};
    held.writerMs = 5 * WINDOW_MS;
    held.submit('no-op');
    await held.advance();
    held.submit('b');
    await held.advance(4 * WINDOW_MS);
    assert.deepEqual(held.batches, [['a'], ['no-op']], 'it is held');
    await held.advance(WINDOW_MS);
    assert.deepEqual(held.batches, [['a'], ['no-op'], ['b']]);
  });

  it('who gave up while the batch was held never happens, and takes no PUT', async () => {
    const held = paced(1);
    held.submit('a');
    await pass(held, 2);
    held.budget!.sent(10);
    held.submit('late');
    await pass(held, TIMEOUT_MS);
    held.pipeline.sweep();
    assert.equal(held.events.at(-1), 'late: etcdserver: request timed out');
    const { saved } = held.budget!;
    await pass(held, 2_000);
    assert.deepEqual([held.batches, held.pipeline.pendingRequests], [[['a']], 0]);
    // Two seconds at 0.95 a second.
    assert.ok(held.budget!.saved - saved > 1.8, `${held.budget!.saved - saved}`);
  });

  it('is not waited for when the process ends', async () => {
    const held = paced(1);
    held.budget!.sent(1_000);
    for (const name of ['a', 'b']) {
      held.submit(name);
      await pass(held, 1);
    }
    const drained = held.pipeline.drain();
    await pass(held, 20);
    await drained;
    assert.deepEqual(held.events.slice(-2), ['reply b', 'publish 2']);
  });

  it('whatever comes in whatever order: every write is answered, and PUTs keep to the budget', async (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`SEED=${seed}`);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant('submit' as const) },
      { weight: 1, arbitrary: fc.constant('no-op' as const) },
      { weight: 1, arbitrary: fc.constant('other' as const) },
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 9 }) },
      { weight: 3, arbitrary: fc.record({ ms: fc.integer({ min: 0, max: 400 }) }) },
    );
    const property = fc.asyncProperty(
      fc.array(step, { maxLength: 120 }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom(1, 3, 10, 200),
      async (steps, pipelineDepth, perSecond) => {
        const held = paced(perSecond, { pipelineDepth, queueRequestsMax: 1_000 });
        let [submitted, others] = [0, 0];
        for (const one of steps) {
          if (one === 'submit' || one === 'no-op') held.submit(one === 'submit' ? `r${submitted++}` : one);
          else if (one === 'other') {
            held.budget!.sent(1);
            others++;
          } else if (typeof one === 'object') await held.advance(one.ms);
          else if (held.uploads.length > 0) {
            await held.finish(held.uploads[one % held.uploads.length]!.sequence);
          }
        }
        const chunks = held.batches.filter((names) => names.some((name) => !name.startsWith('no-op'))).length;
        const seconds = held.clock.monotonicMs() / 1000;
        assert.ok(chunks <= 0.95 * perSecond * seconds + Math.max(2, perSecond) + others, `${chunks} chunks`);
        // However much is owed, each turn comes: two gaps of the rate for each batch that may be left.
        for (let turns = 0; held.pipeline.pendingRequests > 0; turns++) {
          assert.ok(turns < 50, 'writes are left');
          await held.advance(2_200 / perSecond);
          await finishAll(held);
        }
        const replies = held.events.filter((event) => event.startsWith('reply r'));
        assert.deepEqual(
          replies,
          Array.from({ length: submitted }, (_, index) => `reply r${index}`),
        );
        assert.ok(held.depthSeen <= pipelineDepth, `${held.depthSeen} in flight`);
      },
    );
    await fc.assert(property, { seed, numRuns: 150 });
  });
});
