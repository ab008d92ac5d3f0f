import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import {
  KV,
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

const asIs = (bytes: Buffer): Buffer => bytes;
const DEADLINE_MS = 60_000;
const WATCH_PATH = '/etcdserverpb.Watch/Watch';

/** Every key, as etcd's API writes that range. */
export const ALL_KEYS = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };

/** The range of the keys that begin with `prefix`, a text that does not end in U+00FF. */
export function prefixRange(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  const rangeEnd = Buffer.from(prefix);
  rangeEnd[rangeEnd.length - 1]! += 1;
  return { key: Buffer.from(prefix), rangeEnd };
}

/** A gRPC client of etcd's API through grpc-js, on one connection of its own, that never tries a call twice. */
export class Client {
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();

  /** `requireLeader`: every call is only for a server that has a leader (clientv3.WithRequireLeader). */
  constructor(authority: string, requireLeader = false) {
    if (requireLeader) this.#metadata.set('hasleader', 'true');
    this.#client = new grpc.Client(authority, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.enable_retries': 0,
      'grpc-node.flow_control_window': 65_535,
    });
  }

  /** Rejects with grpc-js's ServiceError. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    deadlineMs = DEADLINE_MS,
  ): Promise<MessageShape<O>> {
    const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
    const path = `/${method.parent.typeName}/${method.name}`;
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + deadlineMs;
      this.#client.makeUnaryRequest(path, asIs, asIs, bytes, this.#metadata, { deadline }, (error, reply) => {
        if (error) reject(error);
        else resolve(fromBinary(method.output, reply ?? Buffer.alloc(0)));
      });
    });
  }

  /** The store's revision, by a linearizable read. */
  async revision(): Promise<number> {
    const { header } = await this.call(KV.method.range, { ...ALL_KEYS, countOnly: true });
    return Number(header!.revision);
  }

  watch(): WatchStream {
    return new WatchStream(this.#client.makeBidiStreamRequest(WATCH_PATH, asIs, asIs, this.#metadata, {}));
  }

  close(): void {
    this.#client.close();
  }
}

type WatchInit = MessageInitShape<typeof WatchRequestSchema>;

/** One Watch call. Responses are kept until they are taken; while it is paused nothing is read off the wire. */
export class WatchStream {
  readonly #call: grpc.ClientDuplexStream<Buffer, Buffer>;
  readonly #responses: WatchResponse[] = [];
  #failure: grpc.ServiceError | undefined;
  #wake: () => void = () => {};

  constructor(call: grpc.ClientDuplexStream<Buffer, Buffer>) {
    this.#call = call;
    call.on('data', (bytes: Buffer) => {
      this.#responses.push(fromBinary(WatchResponseSchema, bytes));
      this.#wake();
    });
    call.on('error', (error: grpc.ServiceError) => {
      this.#failure = error;
      this.#wake();
    });
  }

  send(request: WatchInit): void {
    this.#call.write(Buffer.from(toBinary(WatchRequestSchema, create(WatchRequestSchema, request))));
  }

  /** The next response. Rejects with the stream's failure once every response before it was taken. */
  async next(): Promise<WatchResponse> {
    for (;;) {
      const response = this.#responses.shift();
      if (response !== undefined) return response;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(): void {
    this.#call.cancel();
  }
}
