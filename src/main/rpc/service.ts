import { once } from 'node:events';
import type { DescService } from '@bufbuild/protobuf';
import type {
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { asBuffer } from '../../shared/base/bytes.ts';
import { EtcdError, GrpcCode } from '../../shared/etcd/errors.ts';
import { Reader } from '../../shared/etcd/wire.ts';
import type { LeaderRequirement } from './leader.ts';
import { type CallFailure, callFailure, notImplemented } from './status.ts';
import { fillRoom } from './wanted.ts';

export type UnaryCall = ServerUnaryCall<Buffer, Buffer>;
export type StreamingCall = ServerWritableStream<Buffer, Buffer>;
export type DuplexCall = ServerDuplexStream<Buffer, Buffer>;

/** Answers a unary call, once. */
export type Reply = (error: Error | undefined, response: Uint8Array) => void;

/** The methods of one service that this server has, by etcd's names. Requests and responses are bytes. */
export interface ServiceHandlers {
  unary?: Record<string, (request: Buffer, reply: Reply, call: UnaryCall) => void>;
  serverStream?: Record<string, (call: StreamingCall) => void>;
  duplex?: Record<string, (call: DuplexCall) => void>;
  /** Asked before each call. */
  leader?: LeaderRequirement;
}

/**
 * A unary method without its transport. It answers once, with a failure or a response. Of `call` the handlers of KV,
 * Lease and Auth, and who meters them, use the request, the peer and what says who makes it, and nothing else.
 */
export type UnaryMethod = (
  request: Buffer,
  call: UnaryCall,
  answer: (failure: CallFailure | null, response?: Buffer) => void,
) => void;

/** A bidirectional method beside its transport, which counts the messages. Of `call` handlers use what `StreamCall` has. */
export interface StreamMethod {
  serve(call: DuplexCall): void;
  readonly meter: Pick<CallMeter, 'received' | 'sent'>;
}

/** Told of each call of a method, and of its messages. */
export interface CallMeter {
  /** Answers when that was, for `handled`. */
  started(): number;
  /** Answers how long the call took, in milliseconds. `call` and `response` are those of a unary one. */
  handled(code: number, startedMs: number, call?: UnaryCall, response?: Uint8Array): number;
  received(bytes: number): void;
  sent(bytes: number): void;
}
export type MeterOfMethod = (
  service: string,
  method: string,
  type: 'unary' | 'server_stream' | 'bidi_stream',
) => CallMeter;

/** Where methods are put that have a way beside grpc-js. */
export interface MethodsByPath {
  readonly unary?: Map<string, UnaryMethod>;
  readonly streams?: Map<string, StreamMethod>;
}

/** Asked before each streaming call; the error refuses it. */
interface StreamAdmission {
  admit(call: StreamingCall | DuplexCall): Error | undefined;
}

type Kind = 'unary' | 'serverStream' | 'duplex';

const METER_TYPES = { unary: 'unary', serverStream: 'server_stream', duplex: 'bidi_stream' } as const;

function sameBytes(bytes: Buffer): Buffer {
  return bytes;
}

/** The same bytes, counted: grpc-js asks for each message that comes or goes. */
function countedBytes(count: (bytes: number) => void): (bytes: Buffer) => Buffer {
  return (bytes) => {
    count(bytes.length);
    return bytes;
  };
}

/**
 * Adds a service on raw bytes: main does not parse what it need not parse. Calls that come before `handlers` are
 * there (the port is bound before recovery) wait for them. Methods that have none answer UNIMPLEMENTED. Its unary
 * and bidirectional methods are put into `direct` by path, for a transport beside grpc-js.
 */
export function addService(
  server: Server,
  service: DescService,
  handlers: Promise<ServiceHandlers>,
  meterOf: MeterOfMethod,
  streams: StreamAdmission = EVERY_STREAM,
  direct: MethodsByPath = {},
): void {
  const late: LateHandlers = { now: undefined, ready: handlers };
  handlers.then(
    (ready) => {
      late.now = ready;
    },
    () => {},
  );
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const { name, methodKind } of service.methods) {
    const kind = kindOf(methodKind);
    const meter = meterOf(service.typeName, name, METER_TYPES[kind]);
    definition[name] = {
      path: `/${service.typeName}/${name}`,
      requestStream: kind === 'duplex',
      responseStream: kind !== 'unary',
      requestSerialize: sameBytes,
      requestDeserialize: countedBytes(meter.received),
      responseSerialize: countedBytes(meter.sent),
      responseDeserialize: sameBytes,
    };
    if (kind === 'unary') {
      const answer = unaryMethod(service.typeName, name, late, meter);
      direct.unary?.set(definition[name].path, counted(answer, meter));
      implementation[name] = (call: UnaryCall, callback: sendUnaryData<Buffer>) =>
        answer(call.request, call, (failure, response) => {
          if (response !== undefined) fillRoom(call, response.length);
          callback(failure, response);
        });
    } else {
      const serve = streamingMethod(service.typeName, name, kind, { late, meter, streams });
      implementation[name] = serve;
      if (kind === 'duplex') direct.streams?.set(definition[name].path, { serve, meter });
    }
  }
  server.addService(definition, implementation);
}

const EVERY_STREAM: StreamAdmission = { admit: () => undefined };

/** The paths of the bidirectional methods of these services. */
export function duplexPaths(services: readonly DescService[]): ReadonlySet<string> {
  const paths = services.flatMap(({ typeName, methods }) =>
    methods
      .filter(({ methodKind }) => kindOf(methodKind) === 'duplex')
      .map(({ name }) => `/${typeName}/${name}`),
  );
  return new Set(paths);
}

function kindOf(methodKind: DescService['methods'][number]['methodKind']): Kind {
  if (methodKind === 'unary') return 'unary';
  return methodKind === 'server_streaming' ? 'serverStream' : 'duplex';
}

/** Handlers that come when recovery is over. */
interface LateHandlers {
  now: ServiceHandlers | undefined;
  ready: Promise<ServiceHandlers>;
}

function unaryMethod(service: string, name: string, late: LateHandlers, meter: CallMeter): UnaryMethod {
  const missing = notImplemented(service, name);
  return (request, call, answer) => {
    const startedMs = meter.started();
    whenReady(late, answer, (handlers) => {
      const refusal = handlers.leader?.refusal(call);
      if (refusal !== undefined) {
        meter.handled(refusal.code, startedMs);
        return answer(callFailure(refusal));
      }
      const handle = handlers.unary?.[name];
      if (handle !== undefined) return answerUnary(handle, request, call, answer, meter, startedMs);
      meter.handled(missing.code, startedMs);
      answer(missing);
    });
  };
}

/** For a transport that does not count a call's messages. */
function counted(method: UnaryMethod, meter: CallMeter): UnaryMethod {
  return (request, call, answer) => {
    meter.received(request.length);
    method(request, call, (failure, response) => {
      if (failure === null && response !== undefined) meter.sent(response.length);
      answer(failure, response);
    });
  };
}

function streamingMethod(
  service: string,
  name: string,
  kind: Exclude<Kind, 'unary'>,
  { late, meter, streams }: { late: LateHandlers; meter: CallMeter; streams: StreamAdmission },
): StreamMethod['serve'] {
  const missing = notImplemented(service, name);
  return (call: DuplexCall): void => {
    const startedMs = meter.started();
    const fail = (failure: CallFailure): void => void call.emit('error', failure);
    const tooMany = streams.admit(call);
    if (tooMany !== undefined) {
      const failure = callFailure(tooMany);
      meter.handled(failure.code, startedMs);
      return fail(failure);
    }
    whenReady(late, fail, (handlers) => {
      const handle = kind === 'duplex' ? handlers.duplex?.[name] : handlers.serverStream?.[name];
      if (handle === undefined) {
        meter.handled(missing.code, startedMs);
        return fail(missing);
      }
      countEnd(call, meter, startedMs);
      const refusal = handlers.leader?.refusal(call);
      if (refusal !== undefined) return fail(callFailure(refusal));
      handlers.leader?.watch(call);
      (handle as (call: DuplexCall) => void)(call);
    });
  };
}

/** Counts how a streaming call ended, once. */
function countEnd(call: DuplexCall, meter: CallMeter, startedMs: number): void {
  let code: number = GrpcCode.OK;
  call.once('error', (error: Partial<CallFailure>) => {
    code = error.code ?? GrpcCode.Unknown;
  });
  call.once('cancelled', () => {
    code = GrpcCode.Canceled;
  });
  call.once('close', () => void meter.handled(code, startedMs));
}

function whenReady(
  late: LateHandlers,
  fail: (failure: CallFailure) => void,
  go: (handlers: ServiceHandlers) => void,
): void {
  if (late.now !== undefined) go(late.now);
  else late.ready.then(go, () => fail(callFailure(new EtcdError('Stopped'))));
}

function answerUnary(
  handle: NonNullable<ServiceHandlers['unary']>[string],
  request: Buffer,
  call: UnaryCall,
  answer: Parameters<UnaryMethod>[2],
  meter: CallMeter,
  startedMs: number,
): void {
  const reply: Reply = (error, response) => {
    if (error === undefined) {
      meter.handled(0, startedMs, call, response);
      answer(null, asBuffer(response));
      return;
    }
    const failure = callFailure(error);
    meter.handled(failure.code, startedMs, call);
    answer(failure);
  };
  try {
    handle(request, reply, call);
  } catch (error) {
    reply(error as Error, request);
  }
}

/** Throws `MalformedMessageError` unless `message` is protobuf; for handlers that need none of its fields. */
export function checkMessage(message: Uint8Array): void {
  const reader = new Reader(message);
  while (reader.more()) reader.skip(reader.tag());
}

/** Is aborted when the client has gone, by itself or by its deadline. */
export function cancelSignal(call: Pick<UnaryCall, 'cancelled' | 'once'>): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => gone.abort(new EtcdError('Canceled'));
  if (call.cancelled) abort();
  else call.once('cancelled', abort);
  return gone.signal;
}

/** Sends one message, and waits while the client is slow. Rejects with an AbortError when it is gone. */
export async function sendMessage(call: StreamingCall | DuplexCall, message: Uint8Array): Promise<void> {
  const stop = new AbortController();
  const onCancelled = (): void => stop.abort();
  call.once('cancelled', onCancelled);
  try {
    if (!call.write(asBuffer(message)) && !call.cancelled) {
      await once(call, 'drain', { signal: stop.signal });
    }
  } finally {
    call.removeListener('cancelled', onCancelled);
  }
}

/**
 * Sends one message that is large, and waits until it has left. `sendMessage` lets grpc-js keep 16 of them. Rejects when
 * the client is gone.
 */
export function sendTaken(call: StreamingCall, message: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onCancelled = (): void => reject(new EtcdError('Canceled'));
    if (call.cancelled) return onCancelled();
    call.once('cancelled', onCancelled);
    call.write(asBuffer(message), (error?: Error | null) => {
      call.removeListener('cancelled', onCancelled);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Ends a streaming call with what `error` stands for. */
export function failStream(call: StreamingCall | DuplexCall, error: unknown): void {
  call.emit('error', callFailure(error, 'stream'));
}
