import { create, toBinary } from '@bufbuild/protobuf';
import { PutRequestSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

/** An encoded PutRequest. */
export function putRequest(key: string, value: string): Uint8Array {
  return toBinary(
    PutRequestSchema,
    create(PutRequestSchema, { key: Buffer.from(key), value: Buffer.from(value) }),
  );
}
