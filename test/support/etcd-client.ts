import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';

const DEADLINE_MS = 20_000;

/** How a call failed: what clients match on. */
export interface Failure {
  readonly code: number;
  readonly details: string;
}

/** What a call came to. */
export type Outcome<T> = { readonly value: T } | { readonly failure: Failure };

/** A call under way. */
export interface BegunCall<T> {
  /** Never rejects. */
  readonly outcome: Promise<Outcome<T>>;
  cancel(): void;
}

/** A method's own path and messages; each of protobuf-es's three kinds of method has them. */
interface Method {
  readonly name: string;
  readonly parent: { readonly typeName: string };
}

/**
 * A client of etcd's API: grpc-js carries the bytes, protobuf-es's generated messages give them their meaning. It
 * shares nothing with the server's own codecs.
 */
export class EtcdClient {
  readonly #client: grpc.Client;

  /** `authority` is `host:port`. Each client has a connection of its own. */
  constructor(authority: string, credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure()) {
    this.#client = new grpc.Client(authority, credentials, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
    });
  }

  /** Makes a unary call. Rejects with a grpc `ServiceError`. */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const bytes = toBinary(method.input, create(method.input, request));
    return fromBinary(method.output, await this.callBytes(method, bytes));
  }

  /** Makes a unary call with any bytes for a request. */
  callBytes(method: Method, request: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const answer = (error: grpc.ServiceError | null, response?: Buffer): void => {
        if (error) reject(error);
        else resolve(response ?? Buffer.alloc(0));
      };
      this.#client.makeUnaryRequest(
        pathOf(method),
        asIs,
        asIs,
        Buffer.from(request),
        { deadline: deadline() },
        answer,
      );
    });
  }

  /** Begins a unary call that may wait for long, and can be given up; `fields` are its metadata. */
  begin<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    fields: Readonly<Record<string, string>> = {},
  ): BegunCall<MessageShape<O>> {
    const metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
    const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
    let call: grpc.ClientUnaryCall | undefined;
    const answered = new Promise<Buffer>((resolve, reject) => {
      const answer = (error: grpc.ServiceError | null, response?: Buffer): void => {
        if (error) reject(error);
        else resolve(response ?? Buffer.alloc(0));
      };
      call = this.#client.makeUnaryRequest(pathOf(method), asIs, asIs, bytes, metadata, answer);
    });
    const value = answered.then((response) => fromBinary(method.output, response));
    return { outcome: settled(value), cancel: () => call?.cancel() };
  }

  /** Begins a call that answers with a stream, which is read as it comes; `cancel` ends it. */
  read<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): { next(): Promise<MessageShape<O> | undefined>; cancel(): void } {
    const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
    const call = this.#client.makeServerStreamRequest(pathOf(method), asIs, asIs, bytes);
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    return {
      next: async () => {
        const { done, value } = await messages.next();
        return done ? undefined : fromBinary(method.output, value);
      },
      cancel: () => call.cancel(),
    };
  }

  /** Makes a call that answers with a stream, and waits for all of it. */
  async collect<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>[]> {
    const bytes = toBinary(method.input, create(method.input, request));
    const messages = await this.collectBytes(method, bytes);
    return messages.map((message) => fromBinary(method.output, message));
  }

  /** As `collect`, with any bytes for a request. */
  async collectBytes(method: Method, request: Uint8Array): Promise<Buffer[]> {
    const options = { deadline: deadline() };
    const call = this.#client.makeServerStreamRequest(
      pathOf(method),
      asIs,
      asIs,
      Buffer.from(request),
      options,
    );
    const messages: Buffer[] = [];
    for await (const message of call) messages.push(message as Buffer);
    return messages;
  }

  /** Sends all `requests` on one two-way stream, ends it, and waits for everything that is answered. */
  async exchange<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    requests: readonly MessageInitShape<I>[],
  ): Promise<MessageShape<O>[]> {
    const bytes = requests.map((request) => toBinary(method.input, create(method.input, request)));
    const messages = await this.exchangeBytes(method, bytes);
    return messages.map((message) => fromBinary(method.output, message));
  }

  /** As `exchange`, with any bytes for the requests. */
  async exchangeBytes(method: Method, requests: readonly Uint8Array[]): Promise<Buffer[]> {
    const call = this.#client.makeBidiStreamRequest(pathOf(method), asIs, asIs, { deadline: deadline() });
    for (const request of requests) call.write(Buffer.from(request));
    call.end();
    const messages: Buffer[] = [];
    for await (const message of call) messages.push(message as Buffer);
    return messages;
  }

  /** Sends one request on a two-way stream that stays open, and resolves when the server ends it without an error. */
  async watch<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    request: MessageInitShape<I>,
    received: (message: MessageShape<O>) => void = () => {},
  ): Promise<void> {
    const call = this.#client.makeBidiStreamRequest(pathOf(method), asIs, asIs);
    call.write(Buffer.from(toBinary(method.input, create(method.input, request))));
    for await (const message of call) received(fromBinary(method.output, message as Buffer));
  }

  /** Opens a two-way stream; `received` gets what comes, and `ended` how it ended, once: undefined without an error. */
  open<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    received: (message: MessageShape<O>) => void,
    ended: (failure: Failure | undefined) => void,
  ): OpenStream<MessageInitShape<I>> {
    const call = this.#client.makeBidiStreamRequest(pathOf(method), asIs, asIs);
    call.on('data', (message: Buffer) => received(fromBinary(method.output, message)));
    call.on('error', () => {});
    call.on('status', ({ code, details }: grpc.StatusObject) =>
      ended(code === 0 ? undefined : { code, details }),
    );
    return {
      send: (request) => void call.write(Buffer.from(toBinary(method.input, create(method.input, request)))),
      endRequests: () => call.end(),
      cancel: () => call.cancel(),
    };
  }

  close(): void {
    this.#client.close();
  }
}

/** The client's side of a two-way stream. */
export interface OpenStream<Request> {
  send(request: Request): void;
  /** Says that no more requests come; answers still do. */
  endRequests(): void;
  cancel(): void;
}

/** The failure of a call that must fail. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  const outcome = await settled(call);
  if (!('failure' in outcome)) throw new Error('the call should have failed');
  return outcome.failure;
}

/** What a call came to, without throwing. */
export async function settled<T>(call: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await call };
  } catch (error) {
    const { code, details } = error as Partial<grpc.ServiceError>;
    if (code === undefined || details === undefined) throw error;
    return { failure: { code, details } };
  }
}

/** The bytes of a text, one per character. */
export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** The inverse of `bytes`. */
export function text(of: Uint8Array | undefined): string {
  return Buffer.from(of ?? []).toString('latin1');
}

function pathOf({ parent, name }: Method): string {
  return `/${parent.typeName}/${name}`;
}

function deadline(): number {
  return Date.now() + DEADLINE_MS;
}

function asIs(message: Buffer): Buffer {
  return message;
}
