import { after, test } from 'node:test';
import { missingTools } from '../support/tools.ts';
import type { Fields, Operation } from './operations.ts';
import { Sequences } from './sequences.ts';

/** Sequences per seed, of about thirty operations each. */
const SEQUENCES = 25;
const FRESH_SEED = Math.floor(Math.random() * 2 ** 31);
const SEEDS = [1, 2, FRESH_SEED];
const SHRINK_MS = 60_000;

const sequences = new Sequences();
after(() => sequences.stop());

const EVERYTHING: Fields = { key: '\x00', rangeEnd: '\x00' };

function watchAll(stream: number, more: Fields): Operation {
  return { watch: 'create', stream, request: { ...EVERYTHING, ...more }, progressAtOnce: false };
}

function put(key: string, value: string, lease = 0n): Operation {
  return { rpc: 'Put', request: { key, value, lease } };
}

function putAll(values: { readonly [key: string]: string }): Operation {
  const success = Object.entries(values).map(([key, value]) => ({
    request: { case: 'requestPut', value: { key, value } },
  }));
  return { rpc: 'Txn', request: { compare: [], success, failure: [] } };
}

test('a lease that ends deletes its keys in their order, in one revision, as in etcd', {
  skip: missingTools('go'),
}, async () => {
  await sequences.run([
    watchAll(0, { prevKv: true }),
    { rpc: 'LeaseGrant', request: { ID: 4n, TTL: 2n } },
    ...['d', 'b', 'e', 'c'].map((key) => put(key, key, 4n)),
    put('b', 'detached'),
    { wait: 'lease end' },
    { rpc: 'LeaseTimeToLive', request: { ID: 4n, keys: true } },
    { rpc: 'LeaseKeepAlive', request: { ID: 4n } },
  ]);
});

test('a large response of a watch that allows fragments is cut between the events where etcd cuts it', {
  skip: missingTools('go'),
}, async () => {
  // With prev_kv a response comes to about twice a request, which may have 1.5 MiB; the cut is at 2 MiB.
  const kilobytes = [
    [200, 200, 200, 200, 200, 200, 200],
    [200, 200, 200, 200, 200, 200, 200],
    [500, 300, 50, 500],
  ];
  const contents = kilobytes.map((sizes) =>
    Object.fromEntries(sizes.map((size, index) => [`key-${index}`, 'x'.repeat(size * 1000)])),
  );
  await sequences.run([watchAll(0, { prevKv: true, fragment: true }), ...contents.map(putAll)]);
});

for (const seed of SEEDS) {
  test(`random operations are answered as etcd answers them (seed ${seed})`, {
    skip: missingTools('go'),
  }, async (context) => {
    const before = sequences.operations;
    await sequences.runSeed({ seed, sequences: SEQUENCES, shrinkMs: SHRINK_MS });
    context.diagnostic(`seed ${seed}: ${sequences.operations - before} operations`);
  });
}
