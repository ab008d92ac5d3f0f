import { EventEmitter } from 'node:events';
import type { DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DuplexCall, ServiceHandlers, UnaryCall } from '../../src/main/rpc/service.ts';
import { callFailure } from '../../src/main/rpc/status.ts';
import { asBuffer } from '../../src/shared/base/bytes.ts';

/** Calls of a server's handlers as grpc-js would make them. */

const NO_METADATA = { get: () => [] };

/** How a call failed: a gRPC status. */
export class CallError extends Error {
  readonly code: number;

  constructor(code: number, details: string) {
    super(details);
    this.code = code;
  }
}

/** Calls a unary handler; `answer` is called once. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  handlers: ServiceHandlers,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  answer: (error: CallError | undefined, response: MessageShape<O> | undefined) => void,
): void {
  const bytes = asBuffer(toBinary(method.input, create(method.input, request)));
  const fail = (error: unknown): void => {
    const { code, details } = callFailure(error);
    answer(new CallError(code, details), undefined);
  };
  try {
    const call = { metadata: NO_METADATA, request: bytes, cancelled: false } as unknown as UnaryCall;
    handlers.unary![method.name]!(
      bytes,
      (error, response) => {
        if (error === undefined) answer(undefined, fromBinary(method.output, response));
        else fail(error);
      },
      call,
    );
  } catch (error) {
    fail(error);
  }
}

/** What the client's side of a stream hears, in the server's turn. */
export interface StreamClient {
  /** `sent` is to be called when the network has taken it. */
  message(bytes: Uint8Array, sent: () => void): void;
  ended(error: CallError | undefined): void;
}

/** The server's side of a bidirectional call. */
export class SimDuplex extends EventEmitter {
  readonly metadata = NO_METADATA;
  cancelled = false;
  readonly #client: StreamClient;
  readonly #requests: Buffer[] = [];
  #paused = false;
  #ended = false;

  constructor(client: StreamClient) {
    super();
    this.#client = client;
    this.on('error', ({ code, details }: { code: number; details: string }) =>
      this.#end(new CallError(code, details)),
    );
  }

  /** As the handlers take it. */
  get call(): DuplexCall {
    return this as unknown as DuplexCall;
  }

  /** The client's next request. */
  request(bytes: Uint8Array): void {
    this.#requests.push(asBuffer(bytes));
    this.#flow();
  }

  /** The client has gone. */
  cancel(): void {
    if (this.#ended) return;
    this.cancelled = true;
    this.#ended = true;
    this.emit('cancelled');
    this.emit('close');
  }

  write(bytes: Uint8Array, sent: () => void = () => undefined): boolean {
    if (!this.#ended) this.#client.message(bytes, sent);
    return true;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#flow();
  }

  end(): void {
    this.#end(undefined);
  }

  #flow(): void {
    while (!this.#paused && !this.#ended) {
      const next = this.#requests.shift();
      if (next === undefined) return;
      this.emit('data', next);
    }
  }

  #end(error: CallError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#client.ended(error);
    this.emit('close');
  }
}
