import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { KV, Watch, type WatchResponse } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { assertSameState, hashKvOf, stateOf, writeHistory } from '../moving/history.ts';
import { saveSnapshot } from '../moving/tools.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { bytes, EtcdClient, settled } from '../support/etcd-client.ts';
import { requireTool } from '../support/go-tools.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { newStore, ranToItsEnd } from './tools.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const BUMP = 5000;
const run = promisify(execFile);

async function etcdRestored(file: string, flags: readonly string[]): Promise<Etcd> {
  const directory = temporaryDirectory();
  const peer = 'http://127.0.0.1:1';
  await run(await requireTool('etcdutl'), [
    ...['snapshot', 'restore', file, '--data-dir', join(directory, 'data'), '--name', 'peer', ...flags],
    ...['--initial-cluster', `peer=${peer}`, '--initial-advertise-peer-urls', peer],
  ]);
  return startEtcd(directory);
}

/** What the calls of a client come to that may have seen the future: values, codes and texts. */
async function answers(authority: string, before: bigint): Promise<unknown[]> {
  const client = new EtcdClient(authority);
  const all = { key: bytes('\0'), rangeEnd: bytes('\0') };
  const found: unknown[] = [];
  try {
    const revisions = [1n, before - 1n, before, before + 1n, before + BigInt(BUMP) / 2n];
    const bumped = before + BigInt(BUMP);
    for (const revision of [0n, ...revisions, bumped - 1n, bumped, bumped + 1n]) {
      const outcome = await settled(client.call(KV.method.range, { ...all, revision }));
      if ('failure' in outcome) found.push(`range at ${revision}`, outcome.failure);
      else found.push(`range at ${revision}`, outcome.value.header?.revision, outcome.value.kvs.length);
    }
    for (const startRevision of revisions) {
      found.push(`watch from ${startRevision}`, await firstOf(client, startRevision));
    }
    const waiting = Promise.all([firstOf(client, bumped), firstOf(client, bumped + 1n)]);
    const put = await client.call(KV.method.put, { key: bytes('next'), value: bytes('v'), prevKv: true });
    found.push('put', put.header?.revision, 'watches from there and from the next', await waiting);
    const compact = await settled(client.call(KV.method.compact, { revision: bumped }));
    found.push('compact', 'failure' in compact ? compact.failure : 'done');
    return found;
  } finally {
    client.close();
  }
}

/** The first message that says something. */
async function firstOf(client: EtcdClient, startRevision: bigint): Promise<unknown> {
  const create = { key: bytes('\0'), rangeEnd: bytes('\0'), startRevision };
  const message = await new Promise<WatchResponse>((resolve, reject) => {
    const stream = client.open(
      Watch.method.watch,
      (response) => {
        if (response.events.length === 0 && !response.canceled) return;
        stream.cancel();
        resolve(response);
      },
      (failed) => reject(new Error(failed?.details ?? 'ended')),
    );
    stream.send({ requestUnion: { case: 'createRequest', value: create } });
  });
  const { canceled, cancelReason, compactRevision, events, header } = message;
  const keys = events.map(({ kv }) => `${Buffer.from(kv!.key)} ${kv!.modRevision} ${kv!.version}`);
  return { canceled, cancelReason, compactRevision, keys, revision: header?.revision };
}

describe(`restored by etcdutl and by netsy, from the same data (seed ${SEED})`, {
  timeout: 240_000,
  skip: missingTools('go'),
}, () => {
  let live: Netsy;
  let store: string;
  let file: string;
  let revision: bigint;

  before(async () => {
    live = await startNetsy();
    store = pathToFileURL(join(live.dataDir, 'store')).href;
    const client = new EtcdClient(live.authority);
    await writeHistory(client, SEED, 60);
    const { header } = await client.call(KV.method.put, { key: bytes('last'), value: bytes('v') });
    revision = header!.revision;
    client.close();
    file = await saveSnapshot(live.endpoint);
  });
  after(() => live.stop());

  for (const flags of [['--bump-revision', String(BUMP), '--mark-compacted'], []]) {
    it(`with ${flags.join(' ') || 'no flags'}: the same answers, codes and texts`, async () => {
      const into = newStore().url;
      const result = ranToItsEnd(['restore', '--store', store, '--into', into, ...flags]);
      assert.equal(result['revision'], Number(revision) + (flags.length > 0 ? BUMP : 0));
      const [etcd, netsy] = await Promise.all([
        etcdRestored(file, flags),
        startNetsy({ arguments: ['--store', into] }),
      ]);
      try {
        const authority = new URL(etcd.endpoint).host;
        assertSameState(await stateOf(netsy.authority), await stateOf(authority));
        assert.deepEqual(await hashKvOf(netsy.authority), await hashKvOf(authority), 'HashKV');
        if (flags.length > 0) {
          assert.deepEqual(await answers(netsy.authority, revision), await answers(authority, revision));
        }
        assert.deepEqual(await hashKvOf(netsy.authority), await hashKvOf(authority), 'HashKV after a write');
      } finally {
        await netsy.stop();
        await etcd.process.stop();
      }
    });
  }
});
