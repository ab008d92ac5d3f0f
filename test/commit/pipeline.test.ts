import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { HeldPipeline, TIMEOUT_MS, WINDOW_MS } from './parts.ts';

const TIMED_OUT = 'etcdserver: request timed out';

describe('commit pipeline', () => {
  it('closes at once when nothing is in flight, taking what arrived in the same turn', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    held.submit('b');
    assert.deepEqual(held.batches, []);
    await held.advance();
    assert.deepEqual(held.batches, [['a', 'b']]);
  });

  it('gathers for the window while a chunk is in flight, and closes early when full', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    await held.advance();
    held.submit('b');
    await held.advance(WINDOW_MS - 1);
    assert.equal(held.batches.length, 1, 'the window is open');
    await held.advance(1);
    assert.deepEqual(held.batches.at(-1), ['b']);
    for (const name of ['c', 'd', 'e', 'f', 'g']) held.submit(name);
    await held.advance();
    assert.deepEqual(held.batches.at(-1), ['c', 'd', 'e', 'f'], 'four requests are full');
  });

  it('closes when the next request would make the batch too large', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    await held.advance();
    held.submit('b'.repeat(600));
    held.submit('c'.repeat(600));
    await held.advance();
    assert.deepEqual(held.batches.at(-1), ['bbbbbbbb']);
  });

  it('answers in sequence order when uploads end out of order', async () => {
    const held = new HeldPipeline();
    for (const name of ['a', 'b', 'c']) {
      held.submit(name);
      await held.advance(WINDOW_MS);
    }
    await held.finish(3);
    await held.finish(2);
    assert.deepEqual(held.events, [], 'nothing is durable before the first');
    await held.finish(1);
    assert.deepEqual(
      held.events,
      [1, 2, 3].flatMap((n) => [`durable ${n}`, `reply ${'abc'[n - 1]}`, `publish ${n}`]),
    );
  });

  it('a batch that changes nothing is answered without an upload, and still in its turn', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    await held.advance();
    held.submit('no-op');
    await held.advance(WINDOW_MS);
    assert.deepEqual([held.uploads.length, held.events], [1, []]);
    await held.finish(1);
    assert.deepEqual(held.events.slice(-3), ['durable 0', 'reply no-op', 'publish 0']);
  });

  it('answers what made no record only while this process leads, however long it was stopped before', async () => {
    const held = new HeldPipeline();
    const waiting: ((error: Error | undefined) => void)[] = [];
    held.lead = (go) => void waiting.push(go);
    held.submit('no-op');
    await held.advance();
    await held.advance();
    assert.deepEqual(held.events, [], 'another process may have written meanwhile');
    waiting.shift()!(undefined);
    assert.deepEqual(held.events, ['durable 0', 'reply no-op', 'publish 0']);
    held.submit('no-op');
    await held.advance();
    await held.advance();
    waiting.shift()!(new Error('leader changed'));
    assert.equal(held.events[3], 'no-op: leader changed');
    assert.equal(held.pipeline.pendingRequests, 0);
  });

  it('a time-out is answered while the upload goes on, which later counts', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    await held.advance();
    await held.advance(TIMEOUT_MS);
    held.pipeline.sweep();
    assert.deepEqual(held.events, [`a: ${TIMED_OUT}`]);
    assert.equal(held.pipeline.pendingRequests, 1, 'it still takes room');
    await held.finish(1);
    assert.deepEqual(held.events.slice(1), ['durable 1', 'publish 1'], 'answered once');
    assert.equal(held.pipeline.pendingRequests, 0);
  });

  it('a request that timed out before its batch closed never happens', async () => {
    const held = new HeldPipeline({ pipelineDepth: 1 });
    held.submit('a');
    await held.advance();
    held.submit('late');
    await held.advance(TIMEOUT_MS);
    held.pipeline.sweep();
    await held.finish(1);
    await held.advance(WINDOW_MS);
    assert.deepEqual(held.batches, [['a']]);
    assert.equal(held.pipeline.pendingRequests, 0);
  });

  it('refuses at once what the queue can not hold, by count and by bytes, and takes again later', async () => {
    for (const bound of [{ queueRequestsMax: 2 }, { queueBytesMax: 2 }]) {
      const held = new HeldPipeline(bound);
      for (const name of ['a', 'b', 'c']) held.submit(name);
      assert.deepEqual(held.events, ['c: etcdserver: too many requests']);
      await held.advance();
      await held.finish(1);
      held.submit('d');
      await held.advance();
      await held.finish(2);
      assert.equal(held.events.at(-2), 'reply d');
    }
  });

  it('after a lost sequence nothing is acknowledged, not even what becomes durable later', async () => {
    const held = new HeldPipeline();
    for (const name of ['a', 'b', 'c']) {
      held.submit(name);
      await held.advance(WINDOW_MS);
    }
    await held.finish(2, 'lost');
    await held.finish(1);
    await held.finish(3);
    held.submit('d');
    assert.deepEqual(held.events, ['fenced 2', 'a: fenced', 'b: fenced', 'c: fenced', 'd: fenced']);
  });

  it('a store that refuses for good is reported, and nothing is answered as done', async () => {
    const held = new HeldPipeline();
    held.submit('a');
    await held.advance();
    held.uploads[0]!.reject(new Error('403'));
    await held.settle();
    assert.deepEqual([held.failures.map(({ message }) => message), held.events], [['403'], []]);
  });

  it('drain answers what was taken and refuses the rest', async () => {
    const held = new HeldPipeline({ pipelineDepth: 1 });
    for (const name of ['a', 'b']) {
      held.submit(name);
      await held.advance();
    }
    const drained = held.pipeline.drain();
    held.submit('late');
    await held.finish(1);
    await held.advance(10);
    await held.finish(2);
    await held.advance(10);
    await drained;
    assert.deepEqual(
      held.events.filter((event) => !/^(durable|publish)/.test(event)),
      ['late: etcdserver: server stopped', 'reply a', 'reply b'],
    );
  });

  it('whatever comes in whatever order: replies in order, once each, depth never exceeded', async (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`SEED=${seed}`);
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.constant('submit' as const) },
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 9 }) },
      { weight: 2, arbitrary: fc.constant('wait' as const) },
    );
    const property = fc.asyncProperty(
      fc.array(step, { maxLength: 80 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, pipelineDepth) => {
        const held = new HeldPipeline({ pipelineDepth });
        let submitted = 0;
        for (const one of steps) {
          if (one === 'submit') held.submit(`r${submitted++}`);
          else if (one === 'wait') await held.advance(WINDOW_MS);
          else if (held.uploads.length > 0) {
            await held.finish(held.uploads[one % held.uploads.length]!.sequence);
          }
        }
        await held.advance(WINDOW_MS);
        while (held.uploads.length > 0) {
          await held.finish(held.uploads.at(-1)!.sequence);
          await held.advance(WINDOW_MS);
        }
        const replies = held.events.filter((event) => event.startsWith('reply'));
        assert.deepEqual(
          replies,
          Array.from({ length: submitted }, (_, index) => `reply r${index}`),
        );
        assert.ok(held.depthSeen <= pipelineDepth, `${held.depthSeen} in flight`);
        assert.equal(held.pipeline.pendingRequests, 0);
      },
    );
    await fc.assert(property, { seed, numRuns: 150 });
  });
});
