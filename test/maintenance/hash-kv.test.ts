import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { KV, Maintenance } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { missingTools } from '../support/tools.ts';
import { carryOut, type Step, step } from './histories.ts';
import { type Outcome, outcomeOf, Pair } from './pair.ts';

const STEPS_MAX = 60;
const HISTORIES = Number(process.env['NETSY_HASH_HISTORIES'] ?? 5);
const CHOSEN_SEED = process.env['NETSY_HASH_SEED'];
const FRESH_SEED = Math.floor(Math.random() * 2 ** 31);
const SEEDS = CHOSEN_SEED === undefined ? [1, FRESH_SEED] : [Number(CHOSEN_SEED)];
const NONE_COMPACTED = -1n;

describe('HashKV is the number that etcd gives', { skip: missingTools('go'), timeout: 300_000 }, () => {
  let pair: Pair;
  let newest = 1n;
  let compacted = NONE_COMPACTED;
  /** Etcd answers these from a memory of its own, with the hash as it was before the compaction, until it restarts. */
  const remembered = new Set<bigint>();

  before(async () => {
    pair = await Pair.start();
  });
  after(async () => pair?.stop());

  async function run(steps: readonly Step[]): Promise<void> {
    for (const one of steps) {
      const answer = await carryOut(pair, one, newest);
      if (!('response' in answer)) continue;
      newest = BigInt((answer.response['header'] as { revision: string }).revision);
      if (one.kind !== 'compact') continue;
      compacted = newest - BigInt(one.back);
      remembered.add(compacted);
    }
  }

  /** Every revision that can be asked, and those beside them. */
  async function compareAll(): Promise<Outcome[]> {
    const answers = [];
    for (let revision = compacted > 1n ? compacted - 2n : 0n; revision <= newest + 1n; revision++) {
      if (!remembered.has(revision)) answers.push(await pair.same(Maintenance.method.hashKV, { revision }));
    }
    answers.push(await pair.same(Maintenance.method.hashKV, { revision: -3n }));
    return answers;
  }

  /** What we answer ourselves for every revision. */
  async function ourAnswers(): Promise<Outcome[]> {
    const answers = [];
    for (let revision = 0n; revision <= newest; revision++) {
      answers.push(await outcomeOf(pair.ours, Maintenance.method.hashKV, { revision }));
    }
    return answers;
  }

  it('of an empty store, and of one where everything is deleted', async () => {
    await compareAll();
    await run([
      { kind: 'put', key: 'a', value: '1', lease: 0n },
      { kind: 'put', key: 'b', value: '1', lease: 0n },
      { kind: 'put', key: 'b', value: '2', lease: 0n },
      { kind: 'delete', key: 'b', rangeEnd: '' },
      { kind: 'put', key: 'b', value: '3', lease: 0n },
      { kind: 'compact', back: 1 },
    ]);
    await compareAll();
    await run([{ kind: 'delete', key: '\x00', rangeEnd: '\x00' }]);
    await compareAll();
    await run([{ kind: 'compact', back: 0 }]);
    await compareAll();
  });

  it('of a key that one revision deletes and puts again, which does not count as living there', async () => {
    await run([
      { kind: 'put', key: 'a', value: '1', lease: 0n },
      { kind: 'compact', back: 0 },
      {
        kind: 'txn',
        steps: [
          { kind: 'delete', key: 'a', rangeEnd: '\x00' },
          { kind: 'put', key: 'a', value: '2', lease: 0n },
        ],
      },
    ]);
    await compareAll();
  });

  for (const seed of SEEDS) {
    it(`of random histories, compacted at random, at every revision (seed ${seed})`, async (test) => {
      test.diagnostic(`NETSY_HASH_SEED=${seed}`);
      const histories = fc.array(step, { minLength: 20, maxLength: STEPS_MAX, size: 'max' });
      for (const history of fc.sample(histories, { seed, numRuns: HISTORIES })) {
        await run(history);
        await compareAll();
      }
      assert.ok(newest > 20n && compacted > 1n, 'the histories came to something');
    });
  }

  it('after a restart of both, the compacted revisions too', async () => {
    const before = await ourAnswers();
    await pair.etcd.process.stop();
    await Promise.all([pair.etcd.restart(), pair.restartOurs()]);
    remembered.clear();
    await compareAll();
    assert.deepEqual(await ourAnswers(), before);
  });

  it('after the cache was deleted and filled from the log again', async () => {
    const before = await ourAnswers();
    await pair.restartOurs(() => rmSync(join(pair.netsy.dataDir, 'cache'), { recursive: true }));
    assert.deepEqual(await ourAnswers(), before);
    await compareAll();
    await run([{ kind: 'put', key: 'a', value: 'after', lease: 0n }]);
    await compareAll();
  });

  it('has a Hash beside it: of everything, the same as long as nothing changes, and not etcd’s', async () => {
    const hash = async (): Promise<number> => (await pair.ours.call(Maintenance.method.hash, {})).hash;
    const first = await hash();
    assert.equal(await hash(), first);
    await pair.restartOurs(() => rmSync(join(pair.netsy.dataDir, 'cache'), { recursive: true }));
    assert.equal(await hash(), first);
    await pair.ours.call(KV.method.put, { key: Buffer.from('a') });
    assert.notEqual(await hash(), first);
  });
});
