import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { CallError, Done } from '../../bench/grpc/connection.ts';
import { KeySpace } from '../../bench/load/key-space.ts';
import { isWhole, type Verification, verifyKeySpace } from '../../bench/load/verify.ts';
import { createWorkload, type Operation } from '../../bench/load/workload.ts';
import {
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

interface Kept {
  key: string;
  value: Uint8Array;
  modRevision: bigint;
}

/** As much of etcd as the generator asks for; a test damages `kept` between writing and reading back. */
class TinyEtcd {
  kept: Kept[] = [];
  revision = 1n;

  unary(method: string, message: Uint8Array, done: Done): void {
    done(undefined, method.endsWith('Txn') ? this.txn(message) : this.range(message));
  }

  private txn(message: Uint8Array): Uint8Array {
    const txn = fromBinary(TxnRequestSchema, message);
    const put = txn.success[0]?.request;
    const expected = txn.compare[0]?.targetUnion;
    assert.ok(put?.case === 'requestPut' && expected?.case === 'modRevision');
    const key = Buffer.from(put.value.key).toString('latin1');
    const present = this.kept.find((one) => one.key === key);
    const succeeded = (present?.modRevision ?? 0n) === expected.value;
    if (succeeded) {
      this.revision++;
      this.kept = this.kept.filter((one) => one !== present);
      this.kept.push({ key, value: put.value.value, modRevision: this.revision });
    }
    const answer = create(TxnResponseSchema, { header: { revision: this.revision }, succeeded });
    return toBinary(TxnResponseSchema, answer);
  }

  private range(message: Uint8Array): Uint8Array {
    const request = fromBinary(RangeRequestSchema, message);
    const [from, to] = [request.key, request.rangeEnd].map((key) => Buffer.from(key).toString('latin1'));
    const inRange = this.kept
      .filter(({ key }) => (to === '' ? key === from : key >= from! && key < to!))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    const page = request.countOnly ? [] : inRange.slice(0, Number(request.limit) || undefined);
    const answer = create(RangeResponseSchema, {
      header: { revision: this.revision },
      kvs: page.map((one) => ({ ...one, key: Buffer.from(one.key, 'latin1') })),
      more: page.length < inRange.length,
      count: BigInt(inRange.length),
    });
    return toBinary(RangeResponseSchema, answer);
  }
}

function settle(etcd: TinyEtcd, operation: Operation | undefined): string | undefined {
  assert.ok(operation);
  let wrong: string | undefined = 'not answered';
  etcd.unary(operation.method, operation.message, (error, answer) => {
    wrong = operation.settle(error, answer);
  });
  return wrong;
}

/** 1,200 keys, so that reading back takes three pages, each updated about once. */
function filled(): { etcd: TinyEtcd; space: KeySpace } {
  const etcd = new TinyEtcd();
  const space = new KeySpace({
    prefix: '/registry/bench/0-',
    seed: 4,
    valueBytes: 1024,
    groups: 1,
    unchecked: false,
  });
  for (const name of ['create', 'update', 'get'] as const) {
    const workload = createWorkload(name, space);
    for (let count = 0; count < 1200; count++) assert.equal(settle(etcd, workload.next()), undefined);
  }
  return { etcd, space };
}

test('what was written and acknowledged is read back whole', async () => {
  const { etcd, space } = filled();
  const verification = await verifyKeySpace(etcd, space);
  assert.ok(isWhole(verification), JSON.stringify(verification));
  assert.deepEqual([verification.acknowledged, verification.found], [1200, 1200]);
});

function change(etcd: TinyEtcd, index: number, changes: Partial<Kept>): void {
  Object.assign(etcd.kept[index]!, changes);
}

const damages: readonly [string, keyof Verification, (etcd: TinyEtcd) => void][] = [
  ['a lost key', 'missing', (etcd) => void etcd.kept.splice(700, 1)],
  ['an older revision', 'wrongRevision', (etcd) => change(etcd, 3, { modRevision: 1n })],
  ['another value', 'wrongValue', (etcd) => change(etcd, 9, { value: Buffer.alloc(1024) })],
  [
    'a key that nobody wrote',
    'unexpected',
    (etcd) => void etcd.kept.push({ key: '/registry/bench/0-x', value: Buffer.of(1), modRevision: 9999n }),
  ],
  [
    'one revision for two writes',
    'sharedRevision',
    (etcd) => change(etcd, 0, { modRevision: etcd.kept[1]!.modRevision }),
  ],
];

for (const [what, counter, damage] of damages) {
  test(`reading back finds ${what}`, async () => {
    const { etcd, space } = filled();
    damage(etcd);
    const verification = await verifyKeySpace(etcd, space);
    assert.equal(isWhole(verification), false);
    assert.equal(verification[counter], 1, JSON.stringify(verification));
  });
}

test('a write of unknown fate may be there or not, but its key is left alone from then on', async () => {
  const { etcd, space } = filled();
  const lost: CallError = Object.assign(new Error('gone'), { code: -1 });
  const operation = createWorkload('create', space).next();
  assert.equal(operation?.settle(lost, new Uint8Array(0)), 'grpc -1: gone');
  assert.ok(isWhole(await verifyKeySpace(etcd, space)));
  const space2 = filled();
  settle(space2.etcd, createWorkload('create', space2.space).next());
  space2.space.keys.at(-1)!.unknown = true;
  const verification = await verifyKeySpace(space2.etcd, space2.space);
  assert.ok(isWhole(verification));
  assert.equal(verification.unknown, 1);
});

test('a compare that fails though nobody else writes is an error', () => {
  const { etcd, space } = filled();
  const update = createWorkload('update', space).next();
  for (const one of etcd.kept) one.modRevision += 5000n;
  assert.match(settle(etcd, update) ?? '', /compare failed/);
  const get = createWorkload('get', space).next();
  assert.match(settle(etcd, get) ?? '', /another mod revision/);
});

test('no key has two updates in flight', () => {
  const { space } = filled();
  const workload = createWorkload('update', space);
  const inFlight = Array.from({ length: 1200 }, () => workload.next());
  assert.ok(inFlight.every((operation) => operation !== undefined));
  assert.equal(workload.next(), undefined);
});
