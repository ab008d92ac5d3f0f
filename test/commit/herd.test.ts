import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Herd } from '../../src/main/commit/herd.ts';
import { HeldPipeline } from './parts.ts';

const PUT_MS = 20;

/** So many clients, each of which writes again `thinkMs` after its answer, on a store whose PUTs take `putMs`. */
async function closedLoop(options: {
  clients: number;
  thinkMs: number;
  putMs: number;
  forMs: number;
}): Promise<HeldPipeline> {
  const { clients, thinkMs, putMs, forMs } = options;
  const held = new HeldPipeline({ batchRequestsMax: 1000, batchBytesMax: 1_000_000, pipelineDepth: 16 });
  held.putMs = putMs;
  /** When what happens; in milliseconds from now on. */
  const due: { atMs: number; run: () => void }[] = [];
  const later = (ms: number, run: () => void): void =>
    void due.push({ atMs: held.clock.monotonicMs() + ms, run });
  // They begin in five groups, which is what a batch window alone makes of them for ever.
  for (let client = 0; client < clients; client++) later((client % 5) * 5, () => held.submit(`c${client}`));
  const endMs = held.clock.monotonicMs() + forMs;
  let heard = 0;
  while (held.clock.monotonicMs() < endMs) {
    for (const upload of held.uploads.splice(0)) later(putMs, () => upload.resolve('durable'));
    for (const event of held.events.slice(heard)) {
      const name = /^reply (.*)$/.exec(event)?.[1];
      if (name !== undefined) later(thinkMs, () => held.submit(name));
    }
    heard = held.events.length;
    const nowMs = held.clock.monotonicMs();
    const ready = due.filter(({ atMs }) => atMs <= nowMs);
    for (const one of ready) due.splice(due.indexOf(one), 1);
    for (const { run } of ready) run();
    await held.settle();
    await held.advance(ready.length > 0 ? 0 : 0.5);
  }
  return held;
}

const sizes = (held: HeldPipeline, last: number): number[] =>
  held.batches.slice(-last).map(({ length }) => length);

describe('clients that wait for their answer before they write again', () => {
  it('come to share one chunk, however they began, and stay together', async () => {
    const held = await closedLoop({ clients: 40, thinkMs: 1, putMs: PUT_MS, forMs: 2_000 });
    assert.deepEqual(sizes(held, 20), Array(20).fill(40));
  });

  it('are evaluated while the others are on their way', async () => {
    const held = await closedLoop({ clients: 40, thinkMs: 1, putMs: PUT_MS, forMs: 2_000 });
    assert.deepEqual(held.told.at(-1), [16, 16, 8]);
    const few = await closedLoop({ clients: 12, thinkMs: 1, putMs: PUT_MS, forMs: 2_000 });
    assert.ok(
      few.told.every((parts) => parts.length === 1),
      'too few to be worth a message',
    );
  });

  it('and give up once the writer was told happen, and do not before', async () => {
    const held = new HeldPipeline({ batchRequestsMax: 1000, batchBytesMax: 1_000_000 });
    held.putMs = PUT_MS;
    for (let sequence = 1; sequence <= 60; sequence++) {
      for (let client = 0; client < 40; client++) held.submit(`c${client}`);
      await held.advance();
      await held.advance(PUT_MS);
      await held.finish(sequence);
    }
    const before = held.batches.length;
    const writes = Array.from({ length: 20 }, (_, at) => held.submit(`w${at}`)!);
    for (const at of [3, 17]) writes[at]!.callback = undefined;
    await held.advance(PUT_MS);
    const names = Array.from({ length: 20 }, (_, at) => `w${at}`).filter((name) => name !== 'w17');
    assert.deepEqual(held.batches.slice(before), [names]);
    assert.deepEqual(held.told.at(-1), [16, 3]);
    held.events.length = 0;
    await held.finish(held.uploads[0]!.sequence);
    const replies = names.filter((name) => name !== 'w3').map((name) => `reply ${name}`);
    assert.deepEqual(
      held.events.filter((event) => event.startsWith('reply')),
      replies,
    );
    assert.equal(held.pipeline.pendingRequests, 0);
  });

  it('are not held back where they are few or many', async () => {
    for (const [clients, putMs] of [
      [4, PUT_MS],
      [200, PUT_MS],
    ] as const) {
      const held = await closedLoop({ clients, thinkMs: 1, putMs, forMs: 1_000 });
      assert.ok(
        Math.max(...sizes(held, 20)) < clients,
        `${clients} clients on PUTs of ${putMs} ms stay apart`,
      );
    }
  });

  it('are not waited for when they think for longer than half a PUT', async () => {
    const held = await closedLoop({ clients: 40, thinkMs: 15, putMs: PUT_MS, forMs: 2_000 });
    assert.ok(Math.max(...sizes(held, 20)) < 40);
  });
});

describe('the herd', () => {
  /** One that has shown both signs. */
  const known = (): Herd => {
    const herd = new Herd(() => PUT_MS);
    for (let round = 0; round < 100; round++) {
      const nowMs = round * 25;
      herd.answered(10, nowMs, true);
      for (let write = 0; write < 10; write++) herd.arrived(nowMs + 1);
    }
    return herd;
  };
  const NOW = 2_500;

  it('waits for who was answered, and for the batch before, each for a bounded time', () => {
    const herd = known();
    herd.answered(10, NOW, true);
    assert.equal(herd.dueMs(2, undefined, NOW), NOW + 0.25 * PUT_MS + 0.06 * 10);
    assert.equal(herd.dueMs(2, undefined, NOW + 10), undefined, 'they are late');
    assert.equal(herd.dueMs(10, NOW - 5, NOW), NOW - 5 + 1.5 * PUT_MS);
    assert.equal(herd.dueMs(10, NOW - 31, NOW), undefined, 'the batch before straggles');
    assert.equal(herd.dueMs(55, NOW - 5, NOW), undefined, 'with those on their way they are too many');
    for (let write = 0; write < 10; write++) herd.arrived(NOW + 1);
    assert.equal(herd.dueMs(10, undefined, NOW + 1), undefined, 'all are back');
    assert.equal(herd.dueMs(7, NOW - 5, NOW + 1), undefined, 'they are too few');
  });

  it('takes batches that became durable together for one', () => {
    const herd = new Herd(() => PUT_MS);
    for (let nowMs = 0; nowMs <= NOW; nowMs += 25) {
      herd.answered(5, nowMs, true);
      herd.answered(5, nowMs + 0.2, true);
      if (nowMs < NOW) for (let write = 0; write < 10; write++) herd.arrived(nowMs + 1);
    }
    assert.equal(herd.dueMs(0, undefined, NOW), NOW + 0.25 * PUT_MS + 0.06 * 10);
  });

  it('is not seen in writes that come whether or not there was an answer', () => {
    const herd = known();
    for (let round = 0; round < 20; round++) {
      const nowMs = NOW + round * 25;
      herd.answered(10, nowMs, false);
      for (let write = 0; write < 10; write++) herd.arrived(nowMs + write * 2.5);
    }
    assert.equal(herd.dueMs(10, NOW + 495, NOW + 500), undefined);
  });

  it('is not seen in bursts that come by themselves', () => {
    const herd = known();
    for (let round = 0; round < 20; round++) {
      const nowMs = NOW + round * 100;
      herd.answered(10, nowMs, true);
      for (let write = 0; write < 10; write++) herd.arrived(nowMs + 50);
    }
    assert.equal(herd.dueMs(10, NOW + 1_995, NOW + 2_000), undefined);
  });
});
