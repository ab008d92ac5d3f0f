import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Compare_CompareResult as Is,
  KV,
  Lease,
  RangeRequest_SortOrder as Order,
  RangeRequest_SortTarget as Sort,
  Compare_CompareTarget as Target,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, failureOf, text } from '../support/etcd-client.ts';
import { deleteOp, Fixture, keysOf, putOp, rangeOp, txnOp } from './fixture.ts';

describe('KV over gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture();

  it('Put counts versions and revisions, and gives the previous KeyValue when asked', async () => {
    const first = await server.put('put/a', 'one');
    const second = await server.put('put/a', 'two', { prevKv: true });
    assert.equal(second.header?.revision, first.header!.revision + 1n);
    assert.equal(first.prevKv, undefined);
    assert.equal(text(second.prevKv?.value), 'one');
    const [kv] = (await server.range('put/a')).kvs;
    assert.deepEqual(
      [kv?.createRevision, kv?.modRevision, kv?.version, text(kv?.value)],
      [first.header?.revision, second.header?.revision, 2n, 'two'],
    );
  });

  it('Put keeps the value or the lease when told to ignore the given one', async () => {
    await server.client.call(Lease.method.leaseGrant, { ID: 71n, TTL: 600n });
    await server.put('put/kept', 'value', { lease: 71n });
    await server.put('put/kept', '', { ignoreValue: true });
    let [kv] = (await server.range('put/kept')).kvs;
    assert.deepEqual([text(kv?.value), kv?.lease], ['value', 0n]);
    await server.put('put/kept', 'value', { lease: 71n });
    await server.put('put/kept', 'other', { ignoreLease: true });
    [kv] = (await server.range('put/kept')).kvs;
    assert.deepEqual([text(kv?.value), kv?.lease], ['other', 71n]);
    const absent = { code: 3, details: 'etcdserver: key not found' };
    assert.deepEqual(await failureOf(server.put('put/absent', '', { ignoreValue: true })), absent);
    assert.deepEqual(await failureOf(server.put('put/absent', '', { ignoreLease: true })), absent);
    assert.equal(
      (await failureOf(server.put('put/kept', 'x', { ignoreValue: true }))).details,
      'etcdserver: value is provided',
    );
    assert.equal(
      (await failureOf(server.put('put/kept', '', { ignoreLease: true, lease: 71n }))).details,
      'etcdserver: lease is provided',
    );
    assert.deepEqual(await failureOf(server.put('put/kept', '', { lease: 404n })), {
      code: 5,
      details: 'etcdserver: requested lease not found',
    });
  });

  it('Range selects one key, a prefix, everything from a key on', async () => {
    for (const key of ['range/a', 'range/b', 'range/c', 'rangf']) await server.put(key, key);
    assert.deepEqual(keysOf(await server.range('range/b')), ['range/b']);
    assert.deepEqual(keysOf(await server.range('range/', 'range0')), ['range/a', 'range/b', 'range/c']);
    assert.deepEqual(keysOf(await server.range('range/c', '\0')), ['range/c', 'rangf']);
    assert.deepEqual(keysOf(await server.range('range/c', 'range/a')), []);
  });

  it('Range with a limit says that there is more, and counts all', async () => {
    const page = await server.range('range/', 'range0', { limit: 2n });
    assert.deepEqual([keysOf(page), page.more, page.count], [['range/a', 'range/b'], true, 3n]);
    const all = await server.range('range/', 'range0', { limit: 3n });
    assert.deepEqual([all.kvs.length, all.more, all.count], [3, false, 3n]);
  });

  it('Range gives counts without keys, and keys without values', async () => {
    const counted = await server.range('range/', 'range0', { countOnly: true });
    assert.deepEqual([counted.kvs.length, counted.count], [0, 3n]);
    const { kvs } = await server.range('range/', 'range0', { keysOnly: true });
    assert.deepEqual(
      kvs.map(({ key, value, version }) => [text(key), text(value), version]),
      ['a', 'b', 'c'].map((name) => [`range/${name}`, '', 1n]),
    );
  });

  it('Range sorts by every target in both orders', async () => {
    // Key order a b c; creation c b a; versions 1 3 2; last change a c b; values 3 1 2.
    for (const [key, value] of ['c0', 'b0', 'a3', 'b0', 'c2', 'b1'].map((pair) => [...pair])) {
      await server.put(`sort/${key}`, value);
    }
    const orders: [Sort, string][] = [
      [Sort.KEY, 'abc'],
      [Sort.CREATE, 'cba'],
      [Sort.VERSION, 'acb'],
      [Sort.MOD, 'acb'],
      [Sort.VALUE, 'bca'],
    ];
    for (const [sortTarget, ascending] of orders) {
      const sorted = async (sortOrder: Order): Promise<string> =>
        keysOf(await server.range('sort/', 'sort0', { sortTarget, sortOrder }))
          .map((key) => key.slice(-1))
          .join('');
      assert.equal(await sorted(Order.ASCEND), ascending, Sort[sortTarget]);
      assert.equal(await sorted(Order.DESCEND), [...ascending].reverse().join(''), Sort[sortTarget]);
    }
    const newest = { sortTarget: Sort.MOD, sortOrder: Order.DESCEND, limit: 1n };
    assert.deepEqual(keysOf(await server.range('sort/', 'sort0', newest)), ['sort/b']);
  });

  it('Range filters by least and greatest revisions, and still counts all', async () => {
    const { kvs } = await server.range('sort/', 'sort0');
    const [a, b, c] = kvs;
    const filtered = async (filter: Parameters<Fixture['range']>[2]): Promise<string[]> =>
      keysOf(await server.range('sort/', 'sort0', filter));
    assert.deepEqual(await filtered({ minModRevision: c!.modRevision }), ['sort/b', 'sort/c']);
    assert.deepEqual(await filtered({ maxModRevision: a!.modRevision }), ['sort/a']);
    assert.deepEqual(await filtered({ minCreateRevision: b!.createRevision }), ['sort/a', 'sort/b']);
    assert.deepEqual(await filtered({ maxCreateRevision: c!.createRevision }), ['sort/c']);
    assert.equal((await server.range('sort/', 'sort0', { maxModRevision: 1n })).count, 3n);
  });

  it('Range reads the past, serializably too, and refuses the future', async () => {
    const { header } = await server.put('past', 'old');
    await server.put('past', 'new');
    const old = await server.range('past', '', { revision: header!.revision, serializable: true });
    assert.equal(text(old.kvs[0]?.value), 'old');
    assert.equal(old.header?.revision, header!.revision + 1n, 'the header has the newest revision');
    assert.deepEqual(await failureOf(server.range('past', '', { revision: 1_000_000n })), {
      code: 11,
      details: 'etcdserver: mvcc: required revision is a future revision',
    });
  });

  it('DeleteRange counts what it deleted, and gives it when asked; nothing deleted is no revision', async () => {
    for (const key of ['delete/a', 'delete/b', 'delete/c']) await server.put(key, key);
    const request = { key: bytes('delete/'), rangeEnd: bytes('delete/c'), prevKv: true };
    const deleted = await server.client.call(KV.method.deleteRange, request);
    assert.equal(deleted.deleted, 2n);
    assert.deepEqual(keysOf({ kvs: deleted.prevKvs }), ['delete/a', 'delete/b']);
    const again = await server.client.call(KV.method.deleteRange, request);
    assert.deepEqual([again.deleted, again.header?.revision], [0n, deleted.header?.revision]);
    assert.deepEqual(keysOf(await server.range('delete/', 'delete0')), ['delete/c']);
  });

  it('Txn writes many keys in one revision, and its reads see the writes before them', async () => {
    const response = await server.txn({
      success: [
        putOp('txn/a', '1'),
        rangeOp('txn/a'),
        deleteOp('txn/a2', 'txn/b'),
        putOp('txn/b', '2'),
        rangeOp('txn/', 'txn0'),
      ],
    });
    assert.equal(response.succeeded, true);
    const counts = response.responses.map(({ response: { case: kind, value } }) =>
      kind === 'responseRange' ? value.count : kind,
    );
    assert.deepEqual(counts, ['responsePut', 1n, 'responseDeleteRange', 'responsePut', 2n]);
    const { kvs } = await server.range('txn/', 'txn0');
    assert.deepEqual(
      kvs.map(({ modRevision }) => modRevision),
      [response.header?.revision, response.header?.revision],
    );
  });

  it('Txn takes the branch that its compares choose, by every target and result', async () => {
    const { header } = await server.put('compare', 'm');
    const revision = header!.revision;
    const operands = [
      ['version', Target.VERSION, 1n],
      ['createRevision', Target.CREATE, revision],
      ['modRevision', Target.MOD, revision],
      ['lease', Target.LEASE, 0n],
    ] as const;
    const succeeds = async (compare: object): Promise<boolean> =>
      (await server.txn({ compare: [{ key: bytes('compare'), ...compare }] })).succeeded;
    for (const [name, target, equal] of operands) {
      const against = (value: bigint, result: Is): Promise<boolean> =>
        succeeds({ target, result, targetUnion: { case: name, value } });
      assert.equal(await against(equal, Is.EQUAL), true, name);
      assert.equal(await against(equal, Is.NOT_EQUAL), false, name);
      assert.equal(await against(equal + 1n, Is.LESS), true, name);
      assert.equal(await against(equal - 1n, Is.GREATER), true, name);
      assert.equal(await against(equal, Is.GREATER), false, name);
      assert.equal(await against(equal, Is.LESS), false, name);
    }
    const value = (operand: string, result: Is): Promise<boolean> =>
      succeeds({ target: Target.VALUE, result, targetUnion: { case: 'value', value: bytes(operand) } });
    assert.deepEqual(
      await Promise.all([
        value('m', Is.EQUAL),
        value('a', Is.GREATER),
        value('z', Is.LESS),
        value('', Is.EQUAL),
      ]),
      [true, true, true, false],
    );
  });

  it('Txn compares a range key by key, and a missing key as zeros except by value', async () => {
    await server.put('span/a');
    await server.put('span/b');
    await server.put('span/b');
    const version = (result: Is, value: bigint, key = 'span/', rangeEnd = 'span0') =>
      server.txn({
        compare: [
          {
            key: bytes(key),
            rangeEnd: bytes(rangeEnd),
            target: Target.VERSION,
            result,
            targetUnion: { case: 'version', value },
          },
        ],
      });
    assert.equal((await version(Is.GREATER, 0n)).succeeded, true);
    assert.equal((await version(Is.EQUAL, 1n)).succeeded, false);
    assert.equal((await version(Is.EQUAL, 0n, 'none/', 'none0')).succeeded, true);
    const noValue = {
      key: bytes('none'),
      target: Target.VALUE,
      result: Is.EQUAL,
      targetUnion: { case: 'value', value: bytes('') },
    } as const;
    assert.equal((await server.txn({ compare: [noValue] })).succeeded, false);
  });

  it('Txn nests: inner branches are chosen before anything is written', async () => {
    const isNew = {
      key: bytes('nested'),
      target: Target.CREATE,
      result: Is.EQUAL,
      targetUnion: { case: 'createRevision', value: 0n },
    } as const;
    const response = await server.txn({
      success: [
        putOp('nested', 'outer'),
        txnOp({
          compare: [isNew],
          success: [putOp('nested/in', 'new')],
          failure: [putOp('nested/in', 'old')],
        }),
      ],
    });
    const inner = response.responses[1]?.response;
    assert.ok(inner?.case === 'responseTxn' && inner.value.succeeded);
    assert.equal(text((await server.range('nested/in')).kvs[0]?.value), 'new');
  });

  it('Txn refuses a key written twice, in nested branches too, and changes nothing', async () => {
    const twice = { code: 3, details: 'etcdserver: duplicate key given in txn request' };
    const requests = [
      [putOp('twice'), putOp('twice')],
      [putOp('twice'), deleteOp('t', 'u')],
      [putOp('twice'), txnOp({ failure: [putOp('twice')] })],
      [txnOp({ success: [putOp('twice')] }), txnOp({ success: [putOp('twice')] })],
    ];
    for (const success of requests) assert.deepEqual(await failureOf(server.txn({ success })), twice);
    assert.equal((await server.range('twice')).count, 0n);
    const branches = { success: [putOp('twice')], failure: [putOp('twice')] };
    assert.equal((await server.txn({ success: [txnOp(branches)] })).succeeded, true);
  });

  it('Txn that fails in its last operation leaves nothing of the first', async () => {
    const lease = { key: bytes('all/b'), lease: 404n };
    const request = { success: [putOp('all/a'), { request: { case: 'requestPut', value: lease } as const }] };
    assert.equal((await failureOf(server.txn(request))).code, 5);
    assert.equal((await server.range('all/', 'all0')).count, 0n);
  });

  it('Compact hides what is older, says so in etcd words, and physical waits for it', async () => {
    await server.put('compact', '1');
    const { header } = await server.put('compact', '2');
    await server.put('compact', '3');
    const revision = header!.revision;
    await server.client.call(KV.method.compact, { revision, physical: true });
    assert.equal(text((await server.range('compact', '', { revision })).kvs[0]?.value), '2');
    const compacted = { code: 11, details: 'etcdserver: mvcc: required revision has been compacted' };
    assert.deepEqual(await failureOf(server.range('compact', '', { revision: revision - 1n })), compacted);
    assert.deepEqual(await failureOf(server.client.call(KV.method.compact, { revision })), compacted);
    const future = await failureOf(server.client.call(KV.method.compact, { revision: revision + 99n }));
    assert.deepEqual(future, {
      code: 11,
      details: 'etcdserver: mvcc: required revision is a future revision',
    });
    assert.equal(text((await server.range('compact')).kvs[0]?.value), '3');
  });
});
