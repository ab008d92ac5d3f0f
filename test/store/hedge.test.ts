import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Fault, lostAnswer } from '../support/faulty-store.ts';
import { bench, KEY, OURS, scripted, story, THEIRS, turn } from './appending.ts';

describe('a hedge', () => {
  const hedged = { hedgeAfterMs: 50 } as const;

  it('is not sent when the PUT answers in time', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayBeforeMs: 45 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
  });

  it('wins over a PUT that is stuck before its effect, which is dropped a second later', async () => {
    const { appender, settle, attempts, clock } = bench(scripted({ delayBeforeMs: 5_000 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    await turn();
    assert.equal(story(attempts), 'hedge created');
    assert.ok(clock.monotonicMs() < 1_000);
    clock.advance(1_000);
    await turn();
    assert.equal(story(attempts), 'hedge created, put dropped');
    assert.equal(clock.waiting, 1, 'only the injected delay is left');
  });

  it('that wins leaves its PUT the time to be answered, which frees its connection', async () => {
    const { appender, settle, attempts, clock } = bench(scripted({ delayBeforeMs: 300 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    clock.advance(300);
    await turn();
    assert.equal(story(attempts), 'hedge created, put exists');
    assert.equal(clock.waiting, 0);
  });

  it('that finds the object is overtaken by the answer of the PUT that made it', async () => {
    const plan = scripted({ delayAfterMs: 80 }, {}, { delayBeforeMs: 5_000 });
    const { appender, settle, attempts, clock } = bench(plan, hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, put created');
    assert.ok(clock.monotonicMs() < 200);
  });

  it('whose reading back fails leaves the decision to the PUT', async () => {
    const plan = scripted({ delayAfterMs: 400 }, {}, { failBefore: lostAnswer() });
    const { appender, settle, attempts } = bench(plan, hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, readback failed, put created');
  });

  it('that finds the object of its stuck PUT settles the append by reading it back', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayAfterMs: 5_000 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, readback read');
  });

  it('that loses to its PUT is nothing', async () => {
    const { appender, settle, attempts } = bench(
      scripted({ delayBeforeMs: 60 }, { delayBeforeMs: 5_000 }),
      hedged,
    );
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
  });

  it('still answers when its PUT fails, and its failure still leaves the PUT to answer', async () => {
    const failing = { delayBeforeMs: 60, failBefore: lostAnswer() };
    const answering = { delayBeforeMs: 200 };
    for (const plan of [scripted(failing, answering), scripted(answering, failing)]) {
      const { appender, settle, attempts } = bench(plan, hedged);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
      assert.match(story(attempts), /^(put failed, hedge created|hedge failed, put created)$/);
    }
  });

  it('and its PUT that both fail, at once or apart, are one failure that is retried', async () => {
    for (const hedgeFailsAfter of [50, 80]) {
      const plan = scripted(
        { delayBeforeMs: 100, failBefore: lostAnswer() },
        { delayBeforeMs: hedgeFailsAfter, failBefore: lostAnswer() },
      );
      const { appender, settle, attempts } = bench(plan, hedged);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
      assert.match(story(attempts), /^(put|hedge) failed, (put|hedge) failed, put created$/);
    }
  });

  it("that meets another writer's object while its PUT is stuck makes the append lost", async () => {
    const { appender, settle, memory } = bench(scripted({ delayBeforeMs: 5_000 }), hedged);
    await memory.put(KEY, THEIRS);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'lost');
  });

  it('is sent for about one upload in twenty at most, however slow the store is', async () => {
    const { appender, settle, attempts } = bench(() => ({ delayBeforeMs: 100 }), hedged);
    for (let i = 0; i < 400; i++) await settle(appender.append(`chunks/${i}`, OURS, 1));
    const hedges = attempts.filter(({ request }) => request === 'hedge').length;
    assert.ok(hedges >= 15 && hedges <= 25, `${hedges} hedges`);
  });

  it('may come after the recent 95th percentile, once that is known', async () => {
    const slowEvery = (call: number): Fault => ({
      delayBeforeMs: call % 40 === 39 ? 3_000 : 20 + (call % 10),
    });
    const { appender, settle, attempts, clock } = bench((_o, _k, call) => slowEvery(call), {
      hedgeAfterMs: 'p95',
    });
    let slowest = 0;
    for (let i = 0; i < 200; i++) {
      const begun = clock.monotonicMs();
      await settle(appender.append(`chunks/${i}`, OURS, 1));
      slowest = Math.max(slowest, clock.monotonicMs() - begun);
    }
    const hedgedAway = attempts.filter(
      ({ request, outcome }) => request === 'hedge' && outcome === 'created',
    );
    assert.ok(hedgedAway.length >= 3, `${hedgedAway.length} hedges won`);
    assert.ok(slowest <= 1_100, `the slowest took ${slowest} ms`);
  });
});

describe('an upload that many writes share', () => {
  const auto = { hedgeAfterMs: 'auto' } as const;

  it('is sent twice at once, and the first answer is enough', async () => {
    const { appender, settle, attempts, clock } = bench(
      scripted({ delayBeforeMs: 90 }, { delayBeforeMs: 30 }),
      auto,
    );
    const begun = clock.monotonicMs();
    assert.equal(await settle(appender.append(KEY, OURS, 8)), 'durable');
    assert.ok(clock.monotonicMs() - begun < 60);
    clock.advance(100);
    await turn();
    assert.equal(story(attempts), 'hedge created, put exists');
  });

  it('is sent three times where twelve share it, and no more often where a hundred do', async () => {
    for (const writes of [12, 100]) {
      const { appender, settle, attempts } = bench(() => ({ delayBeforeMs: 5 }), auto);
      assert.equal(await settle(appender.append(KEY, OURS, writes)), 'durable');
      assert.deepEqual(attempts.map(({ request }) => request).sort(), ['hedge', 'hedge', 'put']);
    }
  });

  it('is paid for by the writes of those before it too: a sixth of a PUT each', async () => {
    const { appender, settle, attempts } = bench(() => ({ delayBeforeMs: 5 }), auto);
    for (let chunk = 0; chunk < 30; chunk++) {
      await settle(appender.append(`chunks/${chunk}`, OURS, [3, 1, 12][chunk % 3]!));
    }
    const hedges = attempts.filter(({ request }) => request === 'hedge').length;
    // One may be saved yet.
    assert.ok(hedges >= 25 && hedges <= 26, `${hedges} more PUTs for 160 writes`);
  });

  it('is sent once when the writes are few, the object is large, or the flag says so', async () => {
    const large = new Uint8Array(256 * 1024 + 1);
    for (const [body, writes, options] of [
      [OURS, 5, auto],
      [large, 8, auto],
      [OURS, 8, { hedgeAfterMs: 'p95' }],
      [OURS, 8, { hedgeAfterMs: 'off' }],
    ] as const) {
      const { appender, settle, attempts } = bench(scripted({ delayBeforeMs: 90 }), options);
      assert.equal(await settle(appender.append(KEY, body, writes)), 'durable');
      assert.equal(story(attempts), 'put created');
    }
  });

  it('is sent once while the store is in trouble, and twice again when it answers', async () => {
    const { appender, settle, attempts } = bench(scripted({ failBefore: lostAnswer() }), auto);
    assert.equal(await settle(appender.append('chunks/1', OURS, 1)), 'durable');
    assert.equal(await settle(appender.append('chunks/2', OURS, 8)), 'durable');
    assert.equal(story(attempts), 'put failed, put created, put created, hedge exists');

    const broken = bench(scripted({ failBefore: lostAnswer() }, { failBefore: lostAnswer() }), auto);
    assert.equal(await broken.settle(broken.appender.append(KEY, OURS, 8)), 'durable');
    assert.equal(story(broken.attempts), 'put failed, hedge failed, put created');
  });
});
