import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EtcdError, etcdErrorById, etcdErrorId } from '../../src/shared/etcd/errors.ts';

/** What kube-apiserver and etcd's clients look for, by code and text (etcd's rpctypes/error.go). */
const KNOWN = [
  ['Compacted', 11, 'etcdserver: mvcc: required revision has been compacted'],
  ['FutureRev', 11, 'etcdserver: mvcc: required revision is a future revision'],
  ['EmptyKey', 3, 'etcdserver: key is not provided'],
  ['TooManyOps', 3, 'etcdserver: too many operations in txn request'],
  ['DuplicateKey', 3, 'etcdserver: duplicate key given in txn request'],
  ['LeaseNotFound', 5, 'etcdserver: requested lease not found'],
  ['LeaseExist', 9, 'etcdserver: lease already exists'],
  ['RequestTooLarge', 3, 'etcdserver: request is too large'],
  ['RequestTooManyRequests', 8, 'etcdserver: too many requests'],
  ['NoLeader', 14, 'etcdserver: no leader'],
  ['Timeout', 14, 'etcdserver: request timed out'],
  ['Corrupt', 15, 'etcdserver: corrupt cluster'],
  ['InvalidAuthToken', 16, 'etcdserver: invalid auth token'],
  ['PermissionDenied', 7, 'etcdserver: permission denied'],
  ['WatchCanceled', 1, 'etcdserver: watch canceled'],
  ['DeadlineExceeded', 4, 'etcdserver: context deadline exceeded'],
] as const;

test("errors carry etcd's codes and texts", () => {
  for (const [kind, code, text] of KNOWN) {
    const error = new EtcdError(kind);
    assert.deepEqual([error.code, error.message, error.name], [code, text, 'EtcdError']);
  }
});

test("every error survives the way between threads by its id, and all of etcd's 66 are there", () => {
  const kinds = new Set<string>();
  for (let id = 1; id <= 66; id++) {
    const error = etcdErrorById(id);
    assert.equal(error.id, id);
    assert.equal(etcdErrorId(error.kind), id);
    kinds.add(error.kind);
  }
  assert.equal(kinds.size, 66);
});

test('an id that stands for nothing is refused', () => {
  for (const id of [0, -1, 67, 1.5, Number.NaN]) assert.throws(() => etcdErrorById(id), RangeError);
});
