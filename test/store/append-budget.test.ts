import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AppendAttempt, Appender } from '../../src/main/store/append.ts';
import { budgetedStore } from '../../src/main/store/budgeted.ts';
import { PutBudget } from '../../src/main/store/put-budget.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { ManualClock } from '../support/clock.ts';
import { type FaultPlan, faultyStore, lostAnswer } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { Seeded } from '../support/seeded.ts';
import { type Bench, KEY, OURS, scripted, settle, story } from './appending.ts';

describe('an upload under --put-budget', () => {
  function budgeted(plan: FaultPlan, hedgeAfterMs: 'auto' | number): Bench & { readonly budget: PutBudget } {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    const memory = new MemoryStore();
    const attempts: AppendAttempt[] = [];
    const appender = new Appender(budgetedStore(faultyStore(memory, plan, clock), budget), {
      hedgeAfterMs,
      attemptTimeoutMs: 10_000,
      clock,
      random: new Seeded(1),
      log: silentLog,
      onAttempt: (attempt) => attempts.push(attempt),
      putBudget: budget,
    });
    return { clock, memory, appender, attempts, budget, settle: (promise) => settle(clock, promise) };
  }

  it('is sent twice at once only while half of the savings are left, and pays for both', async () => {
    const { appender, settle, attempts, budget } = budgeted(scripted({ delayBeforeMs: 5 }), 'auto');
    assert.equal(await settle(appender.append('chunks/1', OURS, 8)), 'durable');
    assert.match(story(attempts), /hedge/);
    assert.ok(Math.round(budget.saved) === 8, `${budget.saved} left of 10`);
    budget.sent(4);
    assert.equal(await settle(appender.append('chunks/2', OURS, 8)), 'durable');
    assert.deepEqual(attempts.filter(({ request }) => request === 'hedge').length, 1);
  });

  it('has no hedge when nothing is saved for the next batch, and keeps its claim to one', async () => {
    const { appender, settle, attempts, budget, clock } = budgeted(
      scripted({ delayBeforeMs: 90 }, { delayBeforeMs: 90 }),
      50,
    );
    budget.sent(9);
    assert.equal(await settle(appender.append('chunks/1', OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
    clock.advance(1_000);
    assert.equal(await settle(appender.append('chunks/2', OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created, hedge created');
  });

  it('is tried again whatever is owed, and that is paid for', async () => {
    const faults = Array.from({ length: 5 }, () => ({ failBefore: lostAnswer() }));
    const { appender, settle, budget, clock } = budgeted(scripted(...faults), 'auto');
    budget.sent(20);
    assert.equal(await settle(appender.append(KEY, OURS, 8)), 'durable');
    const earned = 0.0095 * clock.monotonicMs();
    assert.equal(Math.round(budget.saved - earned), 10 - 20 - 6);
  });
});
