import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { asBuffer } from '../../shared/base/bytes.ts';
import { KV, Lease } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EMPTY_BYTES } from '../../shared/etcd/wire.ts';
import type { EtcdCalls } from '../concurrency/calls.ts';
import { OwnWatch } from '../concurrency/own-watch.ts';
import type { WatchHub } from '../watch/hub.ts';
import type { Caller } from './caller.ts';
import type { ServiceHandlers, UnaryCall } from './service.ts';

/** Where the lock and election services make etcd's own calls. */
export interface OwnCallParts {
  kv: ServiceHandlers;
  lease: ServiceHandlers;
  hub: WatchHub;
}

/**
 * Calls of this server's own services within the process, in the name of whoever made `call`: they pass the same
 * checks as if that client had made them. Watches go to the hub: who could queue in a range may read it.
 */
export function ownCalls({ kv, lease, hub }: OwnCallParts, call: Caller): EtcdCalls {
  const on =
    <I extends DescMessage, O extends DescMessage>(
      handlers: ServiceHandlers,
      method: DescMethodUnary<I, O>,
    ) =>
    (request: MessageInitShape<I>): Promise<MessageShape<O>> =>
      invoke(handlers, method, request, call as UnaryCall);
  return {
    range: on(kv, KV.method.range),
    txn: on(kv, KV.method.txn),
    deleteRange: on(kv, KV.method.deleteRange),
    leaseGrant: on(lease, Lease.method.leaseGrant),
    watch: ({ key, rangeEnd = EMPTY_BYTES, startRevision }, signal) =>
      new OwnWatch(hub, { ...WATCH_DEFAULTS, key, rangeEnd, startRevision: Number(startRevision) }, signal),
  };
}

const WATCH_DEFAULTS = { progressNotify: false, filters: [], prevKv: false, watchId: 0, fragment: false };

function invoke<I extends DescMessage, O extends DescMessage>(
  handlers: ServiceHandlers,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  call: UnaryCall,
): Promise<MessageShape<O>> {
  const bytes = asBuffer(toBinary(method.input, create(method.input, request)));
  return new Promise((resolve, reject) => {
    handlers.unary![method.name]!(
      bytes,
      (error, response) => {
        if (error === undefined) resolve(fromBinary(method.output, response));
        else reject(error);
      },
      call,
    );
  });
}
