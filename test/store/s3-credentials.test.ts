import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StoreError } from '../../src/main/store/errors.ts';
import {
  type FetchedCredentials,
  RenewingCredentials,
} from '../../src/main/store/s3-renewing-credentials.ts';
import { StoreTime } from '../../src/main/store/s3-time.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { ManualClock } from '../support/clock.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** A source of numbered credentials that live so long, or fail; and how often it was asked. */
class Source {
  asked = 0;
  lifeMs: number | undefined = HOUR_MS;
  failure: StoreError | undefined;
  /** Gives the same ones again. */
  isStuck = false;
  /** Does not answer until `answer` is called. */
  isHanging = false;
  readonly #hanging: (() => void)[] = [];
  #number = 0;
  readonly clock = new ManualClock();
  readonly time = new StoreTime(this.clock);
  readonly provider = new RenewingCredentials({
    clock: this.clock,
    time: this.time,
    log: silentLog,
    fetch: () => this.#fetch(),
  });

  async id(): Promise<string> {
    return (await this.provider.get()).accessKeyId;
  }

  /** Lets a renewal in the background end. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }

  /** Lets all that hang be answered. */
  answer(): void {
    for (const one of this.#hanging.splice(0)) one();
  }

  async #fetch(): Promise<FetchedCredentials> {
    this.asked++;
    if (this.failure !== undefined) throw this.failure;
    if (!this.isStuck) this.#number++;
    if (this.isHanging) await new Promise<void>((resolve) => this.#hanging.push(resolve));
    const credentials = { accessKeyId: `id-${this.#number}`, secretAccessKey: 'secret' };
    const expiresMs = this.lifeMs === undefined ? undefined : this.clock.wallMs() + this.lifeMs;
    return { credentials, expiresMs };
  }
}

const refusal = new StoreError('denied', 'no role here');

describe('credentials that are renewed', () => {
  it('are asked for once by many requests at once, and then answered from memory', async () => {
    const source = new Source();
    const ids = await Promise.all(Array.from({ length: 50 }, () => source.id()));
    assert.deepEqual([...new Set(ids)], ['id-1']);
    source.clock.advance(44 * MINUTE_MS);
    assert.equal(await source.id(), 'id-1');
    assert.equal(source.asked, 1);
  });

  it('are renewed a quarter of an hour ahead, and no request waits for it', async () => {
    const source = new Source();
    await source.id();
    source.clock.advance(45 * MINUTE_MS);
    assert.equal(await source.id(), 'id-1', 'the old ones are good still');
    await source.settle();
    assert.equal(await source.id(), 'id-2');
    assert.equal(source.asked, 2);
  });

  it('of a short life are renewed at half of it', async () => {
    const source = new Source();
    source.lifeMs = 6_000;
    await source.id();
    source.clock.advance(2_999);
    await source.id();
    await source.settle();
    assert.equal(source.asked, 1);
    source.clock.advance(1);
    assert.equal(await source.id(), 'id-1');
    await source.settle();
    assert.equal(await source.id(), 'id-2');
  });

  it('are used to their end while the source fails, which is asked ever sooner, then tell why there are none', async () => {
    const source = new Source();
    await source.id();
    source.failure = new StoreError('denied', 'no route to the token service');
    for (let minute = 0; minute < 59; minute++) {
      source.clock.advance(MINUTE_MS);
      assert.equal(await source.id(), 'id-1');
      await source.settle();
    }
    assert.ok(source.asked >= 12 && source.asked <= 70, `asked ${source.asked} times`);
    source.clock.advance(MINUTE_MS);
    await assert.rejects(source.id(), {
      kind: 'transient',
      message: /have expired, and can not be renewed: no route/,
    });
    source.failure = undefined;
    source.clock.advance(1_000);
    assert.equal(await source.id(), 'id-2');
  });

  it('of a source that hangs are asked for anew while the old ones are good, and no request waits for it', async () => {
    const source = new Source();
    source.lifeMs = 8_000;
    assert.equal(await source.id(), 'id-1');
    source.isHanging = true;
    source.clock.advance(4_000);
    assert.equal(await source.id(), 'id-1');
    assert.equal(source.asked, 2);
    source.clock.advance(1_000);
    await source.settle();
    source.isHanging = false;
    source.clock.advance(1_000);
    assert.equal(await source.id(), 'id-1');
    await source.settle();
    assert.equal(await source.id(), 'id-3');
  });

  it('that come late are taken, unless there are newer ones', async () => {
    const source = new Source();
    source.lifeMs = 8_000;
    assert.equal(await source.id(), 'id-1');
    source.isHanging = true;
    source.clock.advance(8_000);
    const waiting = assert.rejects(source.id(), { kind: 'transient', message: /takes longer than 1000 ms/ });
    source.clock.advance(1_000);
    await waiting;
    source.answer();
    await source.settle();
    assert.equal(await source.id(), 'id-2');
  });

  it('that the source gives again as they were are asked for again before their end', async () => {
    const source = new Source();
    source.lifeMs = 30 * MINUTE_MS;
    await source.id();
    source.isStuck = true;
    // An instance's next ones are there at least five minutes before the old ones end.
    source.clock.advance(15 * MINUTE_MS);
    source.lifeMs = 15 * MINUTE_MS;
    await source.id();
    await source.settle();
    source.isStuck = false;
    source.lifeMs = HOUR_MS;
    source.clock.advance(10 * MINUTE_MS);
    await source.id();
    await source.settle();
    assert.equal(await source.id(), 'id-2');
  });

  it('without an expiry are looked at every minute, as a file may have new ones', async () => {
    const source = new Source();
    source.lifeMs = undefined;
    assert.equal(await source.id(), 'id-1');
    source.clock.advance(MINUTE_MS);
    await source.id();
    await source.settle();
    assert.equal(await source.id(), 'id-2');
  });

  it('that the store refuses are renewed at once, by one request for all, and not more than once a second', async () => {
    const source = new Source();
    const first = await source.provider.get();
    source.clock.advance(5_000);
    const renewed = await Promise.all([source.provider.renew(first), source.provider.renew(first)]);
    assert.deepEqual(renewed, [true, true]);
    assert.equal(source.asked, 2);
    const second = await source.provider.get();
    assert.equal(await source.provider.renew(first), true, 'others are there already');
    assert.equal(await source.provider.renew(second), false, 'a second has not passed');
    assert.equal(source.asked, 2);
    source.clock.advance(1_000);
    source.isStuck = true;
    assert.equal(await source.provider.renew(second), false, 'the same ones again');
    assert.equal(source.asked, 3);
  });

  it('that are over by our clock when the source gives them are good: our clock is wrong', async () => {
    const source = new Source();
    source.lifeMs = -20 * MINUTE_MS;
    await source.id();
    source.clock.advance(29_000);
    assert.equal(await source.id(), 'id-1');
    assert.equal(source.asked, 1, 'not asked for by each request');
  });

  it('that never were there are refused for what the source says, not more than once a second', async () => {
    const source = new Source();
    source.failure = refusal;
    await assert.rejects(source.id(), refusal);
    await assert.rejects(source.id(), refusal);
    assert.equal(source.asked, 1);
    source.clock.advance(1_000);
    await assert.rejects(source.id(), refusal);
    assert.equal(source.asked, 2);
  });
});

describe('the store’s time', () => {
  const date = (ms: number): string => new Date(ms).toUTCString();

  it('is taken from a refusal that is far from ours, or that says so', () => {
    const clock = new ManualClock();
    const time = new StoreTime(clock);
    const now = clock.wallMs();
    assert.equal(time.correct(date(now + 60_000), now, false), false, 'a minute is not why');
    assert.equal(time.nowMs(), now);
    assert.equal(time.correct(date(now - 20 * MINUTE_MS), now, false), true);
    assert.equal(time.nowMs(), now - 20 * MINUTE_MS);
    assert.equal(time.correct(date(now), time.nowMs(), false), true, 'back again');
    assert.equal(time.correct(date(now + 60_000), now, true), true, 'the store complains of a minute');
    assert.equal(time.correct(undefined, now, true), false);
    assert.equal(time.correct('no date', now, true), false);
  });

  it('that the store itself complains of was not the store’s: ours counts again', () => {
    const clock = new ManualClock();
    const time = new StoreTime(clock);
    const wrong = date(clock.wallMs() + 60 * MINUTE_MS);
    assert.equal(time.correct(wrong, clock.wallMs(), false), true);
    assert.equal(time.correct(wrong, time.nowMs(), true), true);
    assert.equal(time.nowMs(), clock.wallMs());
  });
});
