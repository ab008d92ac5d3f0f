import { create, toBinary } from '@bufbuild/protobuf';
import {
  Compare_CompareTarget,
  PutRequestSchema,
  TxnRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

/** An encoded PutRequest. */
export function putRequest(key: string, value: string): Uint8Array {
  return toBinary(
    PutRequestSchema,
    create(PutRequestSchema, { key: Buffer.from(key), value: Buffer.from(value) }),
  );
}

/** An encoded TxnRequest that puts a key if it is not there, as kube-apiserver creates. */
export function createRequest(key: string, value: string): Uint8Array {
  const compare = { key: Buffer.from(key), target: Compare_CompareTarget.MOD };
  const put = { key: Buffer.from(key), value: Buffer.from(value) };
  const success = { request: { case: 'requestPut' as const, value: put } };
  return toBinary(TxnRequestSchema, create(TxnRequestSchema, { compare: [compare], success: [success] }));
}
