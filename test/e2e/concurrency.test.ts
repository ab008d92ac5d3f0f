import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Compare_CompareResult as Is,
  KV,
  Compare_CompareTarget as Target,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, type EtcdClient, text } from '../support/etcd-client.ts';
import { Fixture, putOp } from './fixture.ts';

const CLIENTS = 8;
const ROUNDS = 60;

describe('many connections writing one key', { timeout: 120_000 }, () => {
  const server = new Fixture();

  function swap(client: EtcdClient, key: string, modRevision: bigint, value: string) {
    return client.call(KV.method.txn, {
      compare: [
        {
          key: bytes(key),
          target: Target.MOD,
          result: Is.EQUAL,
          targetUnion: { case: 'modRevision', value: modRevision },
        },
      ],
      success: [putOp(key, value)],
      failure: [],
    });
  }

  function withClients<T>(body: (client: EtcdClient, index: number) => Promise<T>): Promise<T[]> {
    const run = async (_: unknown, index: number): Promise<T> =>
      server.withClient((client) => body(client, index));
    return Promise.all(Array.from({ length: CLIENTS }, run));
  }

  it('exactly one of the writers that expect the same revision wins', async () => {
    let modRevision = 0n;
    await server.withClient(async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const answers = await withClients((client, index) => swap(client, 'raced', modRevision, `${index}`));
        const winners = answers.flatMap(({ succeeded }, index) => (succeeded ? [index] : []));
        assert.equal(winners.length, 1, `round ${round}`);
        const [kv] = (await server.range('raced')).kvs;
        assert.equal(text(kv?.value), `${winners[0]}`);
        modRevision = kv!.modRevision;
      }
    });
  });

  it('a counter that is read and swapped ends at the number of swaps that succeeded', async () => {
    const successes = await withClients(async (client) => {
      let succeeded = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const [kv] = (await client.call(KV.method.range, { key: bytes('counter') })).kvs;
        const next = String(Number(text(kv?.value)) + 1);
        if ((await swap(client, 'counter', kv?.modRevision ?? 0n, next)).succeeded) succeeded++;
      }
      return succeeded;
    });
    const [kv] = (await server.range('counter')).kvs;
    const total = successes.reduce((sum, one) => sum + one, 0);
    assert.equal(text(kv?.value), String(total));
    assert.equal(kv?.version, BigInt(total));
  });

  it('a read that begins after a write was answered shows it, on any connection', async () => {
    await withClients(async (writer, index) => {
      await server.withClient(async (reader) => {
        for (let round = 0; round < ROUNDS; round++) {
          const key = bytes(`seen/${index}`);
          const { header } = await writer.call(KV.method.put, { key });
          const { kvs } = await reader.call(KV.method.range, { key });
          assert.equal(kvs[0]?.modRevision, header?.revision);
        }
      });
    });
  });
});
