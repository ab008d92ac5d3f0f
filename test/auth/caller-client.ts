import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { Auth } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

const DEADLINE_MS = 20_000;

/** A method with its messages, of whatever kind. */
type Method<I extends DescMessage, O extends DescMessage> = Pick<DescMethod, 'name' | 'parent'> & {
  readonly input: I;
  readonly output: O;
};

/** What a caller shows: metadata fields, `token` as a rule. */
export type Shown = Readonly<Record<string, string>>;

/** A client whose every call shows something else of who makes it. */
export class CallerClient {
  readonly #client: grpc.Client;

  constructor(authority: string, credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure()) {
    this.#client = new grpc.Client(authority, credentials, { 'grpc.use_local_subchannel_pool': 1 });
  }

  /** A unary call. Rejects with a grpc `ServiceError`. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    shown: Shown = {},
  ): Promise<MessageShape<O>> {
    const bytes = toBinary(method.input, create(method.input, request));
    return this.raw(method, bytes, shown);
  }

  /** As `call`, with any bytes for a request. */
  raw<O extends DescMessage>(
    method: Pick<Method<DescMessage, O>, 'name' | 'parent' | 'output'>,
    request: Uint8Array,
    shown: Shown,
  ): Promise<MessageShape<O>> {
    const bytes = Buffer.from(request);
    return new Promise((resolve, reject) => {
      const answer = (error: grpc.ServiceError | null, response?: Buffer): void => {
        if (error) reject(error);
        else resolve(fromBinary(method.output, response ?? Buffer.alloc(0)));
      };
      this.#client.makeUnaryRequest(pathOf(method), same, same, bytes, metadataOf(shown), deadline(), answer);
    });
  }

  /** All answers to a call with one request and a stream of answers. */
  async collect<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    shown: Shown = {},
  ): Promise<MessageShape<O>[]> {
    const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
    const metadata = metadataOf(shown);
    const call = this.#client.makeServerStreamRequest(
      pathOf(method),
      same,
      same,
      bytes,
      metadata,
      deadline(),
    );
    const answers: MessageShape<O>[] = [];
    for await (const answer of call) answers.push(fromBinary(method.output, answer as Buffer));
    return answers;
  }

  /** The first `count` answers on a two-way stream to which `requests` are sent; then the stream is cancelled. */
  async first<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    requests: readonly MessageInitShape<I>[],
    count: number,
    shown: Shown = {},
  ): Promise<MessageShape<O>[]> {
    const call = this.#client.makeBidiStreamRequest(
      pathOf(method),
      same,
      same,
      metadataOf(shown),
      deadline(),
    );
    // Cancelling it below is no failure.
    call.on('error', () => {});
    for (const request of requests) {
      call.write(Buffer.from(toBinary(method.input, create(method.input, request))));
    }
    const answers: MessageShape<O>[] = [];
    for await (const answer of call) {
      answers.push(fromBinary(method.output, answer as Buffer));
      if (answers.length === count) break;
    }
    call.cancel();
    return answers;
  }

  /** Shows a password and answers what to show from then on. */
  async login(name: string, password: string): Promise<Shown> {
    const { token } = await this.call(Auth.method.authenticate, { name, password });
    return { token };
  }

  close(): void {
    this.#client.close();
  }
}

function pathOf({ parent, name }: Pick<DescMethod, 'name' | 'parent'>): string {
  return `/${parent.typeName}/${name}`;
}

function metadataOf(shown: Shown): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [field, value] of Object.entries(shown)) metadata.set(field, value);
  return metadata;
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + DEADLINE_MS };
}

function same(message: Buffer): Buffer {
  return message;
}
