import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import { ExpiryQueue } from '../../src/main/lease/expiry-queue.ts';
import { Lessor } from '../../src/main/lease/lessor.ts';
import { ManualClock } from '../support/clock.ts';

test('the expiry queue gives ids in order of time, whatever order they came in', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), fc.nat(60), (times, now) => {
      const queue = new ExpiryQueue();
      for (const [index, atMs] of times.entries()) queue.add(atMs, BigInt(index));
      const taken: number[] = [];
      for (let id = queue.takeBefore(now); id !== undefined; id = queue.takeBefore(now)) {
        taken.push(times[Number(id)]!);
      }
      const due = times.filter((time) => time <= now).sort((a, b) => a - b);
      assert.deepEqual(taken, due);
    }),
  );
});

describe('lessor', () => {
  function lessorOf(revokesMax = 10) {
    const clock = new ManualClock();
    const revokes: { id: bigint; resolve: () => void; reject: (error: Error) => void }[] = [];
    const revoke = (id: bigint): Promise<void> =>
      new Promise((resolve, reject) => revokes.push({ id, resolve, reject }));
    const lessor = new Lessor({ clock, revoke, revokesMax }, [{ id: 1n, ttlSeconds: 10 }]);
    return { clock, lessor, revokes, ids: () => revokes.map(({ id }) => id) };
  }

  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('gives a lease from before a restart its whole time again', () => {
    const { clock, lessor } = lessorOf();
    clock.advance(3_500);
    assert.deepEqual(lessor.timeToLive(1n), { ttl: 6, grantedTtl: 10 });
    assert.equal(lessor.timeToLive(2n), undefined);
  });

  it('revokes at the end and not before, once', () => {
    const { clock, lessor, ids } = lessorOf();
    clock.advance(9_999);
    lessor.sweep();
    assert.deepEqual(ids(), []);
    clock.advance(1);
    lessor.sweep();
    lessor.sweep();
    assert.deepEqual(ids(), [1n]);
    assert.equal(lessor.count, 1, 'it is there until its revoke is durable');
    lessor.change([{ id: 1n, ttlSeconds: 0 }]);
    assert.equal(lessor.count, 0);
  });

  it('a keep-alive moves the end; one that comes too late waits for the revoke and gets 0', async () => {
    const { clock, lessor, ids } = lessorOf();
    clock.advance(9_000);
    assert.equal(await lessor.keepAlive(1n), 10);
    clock.advance(9_999);
    lessor.sweep();
    assert.deepEqual(ids(), []);
    clock.advance(1);
    let late: number | undefined;
    const answered = lessor.keepAlive(1n).then((ttl) => {
      late = ttl;
    });
    lessor.sweep();
    await settle();
    assert.equal(late, undefined, 'its end is not decided before the revoke is durable');
    lessor.change([{ id: 1n, ttlSeconds: 0 }]);
    await answered;
    assert.equal(late, 0);
    assert.equal(await lessor.keepAlive(1n), 0);
  });

  it('asks again, later, when a revoke fails', async () => {
    const { clock, lessor, revokes, ids } = lessorOf();
    clock.advance(10_000);
    lessor.sweep();
    revokes[0]!.reject(new Error('timed out'));
    await settle();
    lessor.sweep();
    assert.deepEqual(ids(), [1n]);
    clock.advance(1_000);
    lessor.sweep();
    assert.deepEqual(ids(), [1n, 1n]);
  });

  it('a lease whose revoke timed out is not brought back when this process is the primary again', async () => {
    const { clock, lessor, revokes } = lessorOf();
    clock.advance(10_000);
    lessor.sweep();
    revokes[0]!.reject(new Error('timed out'));
    await settle();
    lessor.promote();
    assert.deepEqual(lessor.timeToLive(1n), { ttl: 0, grantedTtl: 10 });
    const answers: number[] = [];
    const answered = lessor.keepAlive(1n).then((ttl) => answers.push(ttl));
    await settle();
    assert.deepEqual(answers, [], 'the revoke may still come into the log');
    assert.equal(lessor.counts.renewed, 0);
    lessor.change([{ id: 1n, ttlSeconds: 0 }]);
    await answered;
    assert.deepEqual(answers, [0]);
  });

  it('has no more revokes under way than it may, and gets to the others', async () => {
    const { clock, lessor, revokes, ids } = lessorOf(2);
    lessor.change([2n, 3n, 4n].map((id) => ({ id, ttlSeconds: 10 })));
    clock.advance(10_000);
    lessor.sweep();
    assert.equal(ids().length, 2);
    for (const { id, resolve } of revokes) {
      lessor.change([{ id, ttlSeconds: 0 }]);
      resolve();
    }
    await settle();
    lessor.sweep();
    assert.deepEqual([...ids()].sort(), [1n, 2n, 3n, 4n]);
  });

  it('a lease revoked and granted again lives for its new time', () => {
    const { clock, lessor, ids } = lessorOf();
    clock.advance(5_000);
    lessor.change([
      { id: 1n, ttlSeconds: 0 },
      { id: 1n, ttlSeconds: 10 },
    ]);
    clock.advance(9_000);
    lessor.sweep();
    assert.deepEqual(ids(), []);
    clock.advance(1_000);
    lessor.sweep();
    assert.deepEqual(ids(), [1n]);
  });

  it('lists the lease that ends first in front', () => {
    const { lessor } = lessorOf();
    lessor.change([
      { id: 2n, ttlSeconds: 5 },
      { id: 3n, ttlSeconds: 20 },
    ]);
    assert.deepEqual(lessor.ids(), [2n, 1n, 3n]);
  });

  it('gives every lease its whole time again where this process becomes the primary', () => {
    const { clock, lessor, ids } = lessorOf();
    lessor.change([{ id: 2n, ttlSeconds: 5 }]);
    clock.advance(30_000);
    lessor.promote();
    lessor.sweep();
    assert.deepEqual(ids(), []);
    assert.deepEqual(lessor.timeToLive(2n), { ttl: 5, grantedTtl: 5 });
    clock.advance(5_000);
    lessor.sweep();
    assert.deepEqual(ids(), [2n]);
  });
});
