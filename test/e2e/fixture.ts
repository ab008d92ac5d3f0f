import { after, before } from 'node:test';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  KV,
  type PutRequest,
  type PutResponse,
  type RangeRequest,
  type RangeResponse,
  type RequestOpSchema,
  type TxnRequestSchema,
  type TxnResponse,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, text } from '../support/etcd-client.ts';
import { type Netsy, type NetsyOptions, startNetsy } from '../support/netsy.ts';

type Generated = '$typeName' | '$unknown';
type RangeInit = Partial<Omit<RangeRequest, Generated | 'key' | 'rangeEnd'>>;
type PutInit = Partial<Omit<PutRequest, Generated | 'key' | 'value'>>;
export type OperationInit = MessageInitShape<typeof RequestOpSchema>;

/** A server that lives as long as the suite around it, and a client of it. Usable from the first test on. */
export class Fixture {
  netsy!: Netsy;
  client!: EtcdClient;

  /** Call it within a `describe`. */
  constructor(options: NetsyOptions = {}) {
    before(async () => {
      this.netsy = await startNetsy(options);
      this.client = new EtcdClient(this.netsy.authority);
    });
    after(async () => {
      this.client?.close();
      await this.netsy?.stop();
    });
  }

  put(key: string, value = '', options: PutInit = {}): Promise<PutResponse> {
    return this.client.call(KV.method.put, { key: bytes(key), value: bytes(value), ...options });
  }

  range(key: string, rangeEnd = '', options: RangeInit = {}): Promise<RangeResponse> {
    return this.client.call(KV.method.range, { key: bytes(key), rangeEnd: bytes(rangeEnd), ...options });
  }

  txn(request: MessageInitShape<typeof TxnRequestSchema>): Promise<TxnResponse> {
    return this.client.call(KV.method.txn, request);
  }

  /** Makes every call anew on a connection of its own. */
  async withClient<T>(body: (client: EtcdClient) => Promise<T>): Promise<T> {
    const client = new EtcdClient(this.netsy.authority);
    try {
      return await body(client);
    } finally {
      client.close();
    }
  }
}

/** The keys of a response, in its order. */
export function keysOf({ kvs }: Pick<RangeResponse, 'kvs'>): string[] {
  return kvs.map(({ key }) => text(key));
}

export function putOp(key: string, value = ''): OperationInit {
  return { request: { case: 'requestPut', value: { key: bytes(key), value: bytes(value) } } };
}

export function deleteOp(key: string, rangeEnd = ''): OperationInit {
  return {
    request: { case: 'requestDeleteRange', value: { key: bytes(key), rangeEnd: bytes(rangeEnd) } },
  };
}

export function rangeOp(key: string, rangeEnd = ''): OperationInit {
  return { request: { case: 'requestRange', value: { key: bytes(key), rangeEnd: bytes(rangeEnd) } } };
}

export function txnOp(request: MessageInitShape<typeof TxnRequestSchema>): OperationInit {
  return { request: { case: 'requestTxn', value: request } };
}
