import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { callFailure, notImplemented } from '../../src/main/rpc/status.ts';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
import { MalformedMessageError } from '../../src/shared/etcd/wire.ts';

describe('call failures', () => {
  it('give etcd’s errors as they are', () => {
    assert.deepEqual(callFailure(new EtcdError('Compacted')), {
      code: 11,
      details: 'etcdserver: mvcc: required revision has been compacted',
    });
  });

  it('give a message that can’t be decoded grpc-go’s words', () => {
    const error = new MalformedMessageError('truncated');
    assert.deepEqual(callFailure(error), {
      code: 13,
      details: 'grpc: error unmarshalling request: proto: cannot parse invalid wire-format data',
    });
    assert.deepEqual(callFailure(error, 'stream'), {
      code: 13,
      details: 'grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data',
    });
  });

  it('give anything else one line and no stack', () => {
    assert.deepEqual(callFailure(new TypeError('first\nsecond')), {
      code: 13,
      details: 'netsy: internal error: first',
    });
    assert.deepEqual(callFailure('text'), { code: 13, details: 'netsy: internal error: text' });
  });

  it('say which method is not there', () => {
    assert.deepEqual(notImplemented('etcdserverpb.Auth', 'AuthEnable'), {
      code: 12,
      details: 'unknown method AuthEnable for service etcdserverpb.Auth',
    });
  });
});
