import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import { escapeHtml } from '../../shared/etcd/json.ts';
import { JsonError, JsonValues } from '../../shared/etcd/json-values.ts';
import { readBody, tooLarge } from './gateway-body.ts';
import type { GatewayJson } from './gateway-json.ts';
import { metadataIn, timeoutMsIn } from './gateway-metadata.ts';
import { gatewayRoutes } from './gateway-routes.ts';
import { CallError, Loopback, type LoopbackCall } from './loopback.ts';
import { callFailure } from './status.ts';

/**
 * etcd's JSON gateway: `POST /v3/…` with a message as JSON is a call of the method that the path stands for, and the
 * answer is its response as JSON. Methods that stream answer one line per message, `{"result":…}`, and a last one,
 * `{"error":…}`, if they fail; those that take a stream read one JSON value after another from the body.
 *
 * What is answered to bad input, and with which HTTP status, is grpc-gateway's, of the version and with the options
 * that etcd 3.7 has. The calls go through the gRPC server (see `Loopback`).
 */

export interface GatewayParts {
  readonly services: readonly DescService[];
  /** Gives the gRPC server its end of a connection. */
  readonly inject: (connection: Duplex) => void;
  readonly json: GatewayJson;
  /** The gRPC server takes no larger message. */
  readonly messageBytesMax: number;
  readonly clock: Clock;
}

/**
 * JSON is larger than the message that it stands for: base64 by a third, small fields by their names. etcd has no
 * limit of its own here.
 */
const JSON_BYTES_PER_MESSAGE_BYTE = 8;

const JSON_TYPE = 'application/json';
/** The one header of gRPC's that the gateway passes on. */
const FROM_GRPC = { 'Content-Type': JSON_TYPE, 'Grpc-Metadata-Content-Type': 'application/grpc' };
const FORM_TYPE = 'application/x-www-form-urlencoded';

/** grpc-gateway's. */
const HTTP_STATUS: Readonly<Record<GrpcCode, number>> = {
  [GrpcCode.OK]: 200,
  [GrpcCode.Canceled]: 499,
  [GrpcCode.Unknown]: 500,
  [GrpcCode.InvalidArgument]: 400,
  [GrpcCode.DeadlineExceeded]: 504,
  [GrpcCode.NotFound]: 404,
  [GrpcCode.AlreadyExists]: 409,
  [GrpcCode.PermissionDenied]: 403,
  [GrpcCode.ResourceExhausted]: 429,
  [GrpcCode.FailedPrecondition]: 400,
  [GrpcCode.Aborted]: 409,
  [GrpcCode.OutOfRange]: 400,
  [GrpcCode.Unimplemented]: 501,
  [GrpcCode.Internal]: 500,
  [GrpcCode.Unavailable]: 503,
  [GrpcCode.DataLoss]: 500,
  [GrpcCode.Unauthenticated]: 401,
};

/** One HTTP request and its answer. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: DescMethod;
}

export class Gateway {
  readonly #parts: GatewayParts;
  readonly #routes: ReadonlyMap<string, DescMethod>;
  readonly #loopback: Loopback;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
    this.#routes = gatewayRoutes(parts.services);
    this.#loopback = new Loopback(parts.inject);
  }

  /** Answers a request whose path, decoded, is `path` and begins with `/v3/`. Never throws. */
  handle(request: IncomingMessage, response: ServerResponse, path: string): void {
    this.#serve(request, response, path).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) response.destroy();
      else refuse(response, failureOf(error));
    });
  }

  /** Ends the calls that are under way. */
  close(): void {
    this.#loopback.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const method = this.#routes.get(path);
    if (method === undefined) throw new CallError(GrpcCode.NotFound, 'Not Found');
    const override = methodOverride(request);
    if ((override ?? request.method) !== 'POST') {
      throw new CallError(GrpcCode.Unimplemented, 'Method Not Allowed');
    }
    const exchange = { request, response, method };
    if (method.methodKind === 'unary') await this.#unary(exchange);
    else if (method.methodKind === 'server_streaming') await this.#serverStream(exchange);
    else await this.#duplex(exchange);
  }

  async #unary(exchange: Exchange): Promise<void> {
    const { response, method } = exchange;
    const call = await this.#ask(exchange);
    let answer: Buffer = NO_BYTES;
    for await (const received of call.messages()) answer = received;
    const body = await this.#parts.json.toJson(method.output.typeName, answer, 'body');
    response.writeHead(200, { ...FROM_GRPC, 'Content-Length': body.length });
    response.end(body);
  }

  async #serverStream(exchange: Exchange): Promise<void> {
    await this.#answerStream(exchange, await this.#ask(exchange));
  }

  /** Makes a call whose request is one message. */
  async #ask(exchange: Exchange): Promise<LoopbackCall> {
    const timeoutMs = timeoutMsIn(exchange.request.headers);
    const message = await this.#message(exchange);
    const call = this.#call(exchange, timeoutMs);
    await call.send(message);
    call.end();
    return call;
  }

  async #duplex(exchange: Exchange): Promise<void> {
    const call = this.#call(exchange, timeoutMsIn(exchange.request.headers));
    await Promise.all([this.#sendStream(exchange, call), this.#answerStream(exchange, call)]);
  }

  /** The message of a request's whole body. What follows its first JSON value is not looked at. */
  async #message({ request, method }: Exchange): Promise<Uint8Array> {
    const { messageBytesMax, json } = this.#parts;
    const body = await readBody(request, messageBytesMax * JSON_BYTES_PER_MESSAGE_BYTE);
    // As in etcd, whoever overrides the method has its body read as a form, and none is left.
    const used = methodOverride(request) === undefined ? body : NO_BYTES;
    const message = await json.fromBody(method.input.typeName, used);
    if (message.length > messageBytesMax) throw tooLarge(message.length, messageBytesMax);
    return message;
  }

  /** Begins the call; it is cancelled when the client goes away or its time is over. */
  #call({ request, response, method }: Exchange, timeoutMs: number | undefined): LoopbackCall {
    if (timeoutMs !== undefined && timeoutMs < 1) throw tooLate();
    const call = this.#loopback.call(
      `/${method.parent.typeName}/${method.name}`,
      metadataIn(request.headers),
    );
    const gone = (): void => call.cancel(new CallError(GrpcCode.Canceled, 'context canceled'));
    response.once('close', gone);
    if (response.destroyed) gone();
    if (timeoutMs === undefined) return call;
    const timer = this.#parts.clock.after(timeoutMs, () => call.cancel(tooLate()));
    response.once('close', () => timer.cancel());
    return call;
  }

  /**
   * Sends a message for each JSON value of the body, until one is not what it should be: as in etcd, the call then
   * goes on with what was sent. A watch to which nothing was sent would never be answered, so that is an error here.
   */
  async #sendStream({ request, method }: Exchange, call: LoopbackCall): Promise<void> {
    const values = new JsonValues();
    let sent = 0;
    let failure: unknown;
    const sendAll = async (next: 'next' | 'last'): Promise<void> => {
      for (let value = values[next](); value !== undefined; value = values[next]()) {
        await call.send(await this.#parts.json.fromBody(method.input.typeName, asBuffer(value)));
        sent++;
      }
      const bytesMax = this.#parts.messageBytesMax * JSON_BYTES_PER_MESSAGE_BYTE;
      if (values.pendingBytes > bytesMax) throw tooLarge(values.pendingBytes, bytesMax);
    };
    const take = async (next: 'next' | 'last'): Promise<void> => {
      await sendAll(next).catch((error: unknown) => {
        failure = error;
      });
    };
    try {
      for await (const piece of request) {
        if (failure !== undefined) continue;
        values.push(piece as Buffer);
        await take('next');
        if (failure !== undefined) call.end();
      }
      if (failure === undefined) await take('last');
    } catch {
      // The client went away, which cancels the call.
    }
    if (sent === 0 && method.name === 'Watch') call.cancel(undecodable(failure));
    call.end();
  }

  async #answerStream({ response, method }: Exchange, call: LoopbackCall): Promise<void> {
    try {
      for await (const message of call.messages()) {
        const json = await this.#parts.json.toJson(method.output.typeName, message, 'line');
        if (!response.headersSent) response.writeHead(200, FROM_GRPC);
        await write(response, Buffer.concat([RESULT, json, RESULT_END]));
      }
    } catch (error) {
      const failure = failureOf(error);
      if (!response.headersSent) {
        response.writeHead(HTTP_STATUS[failure.code] ?? 500, { 'Content-Type': JSON_TYPE });
      }
      response.write(`{"error":${escapeHtml(statusJson(failure))}}\n`);
    }
    response.end();
  }
}

const NO_BYTES = Buffer.alloc(0);
const RESULT = Buffer.from('{"result":');
const RESULT_END = Buffer.from('}\n');

/** grpc-gateway takes a method from this header, in requests that carry a form: curl's `-d` says that they do. */
function methodOverride({ method, headers }: IncomingMessage): string | undefined {
  const override = headers['x-http-method-override'];
  if (typeof override !== 'string' || override === '' || method !== 'POST') return undefined;
  return headers['content-type'] === FORM_TYPE ? override.toUpperCase() : undefined;
}

function tooLate(): CallError {
  return new CallError(GrpcCode.DeadlineExceeded, 'context deadline exceeded');
}

function undecodable(failure: unknown): CallError {
  const why = failure instanceof Error ? failure.message : 'EOF';
  return new CallError(GrpcCode.InvalidArgument, `Failed to decode request: ${why}`);
}

function failureOf(error: unknown): CallError {
  if (error instanceof CallError) return error;
  if (error instanceof JsonError) return new CallError(GrpcCode.InvalidArgument, error.message);
  const { code, details } = callFailure(error);
  return new CallError(code, details);
}

function statusJson({ code, message }: CallError): string {
  return JSON.stringify(message === '' ? { code } : { code, message });
}

function refuse(response: ServerResponse, failure: CallError): void {
  const body = Buffer.from(statusJson(failure));
  if (failure.code === GrpcCode.Unauthenticated) response.setHeader('WWW-Authenticate', failure.message);
  const headers = { 'Content-Type': JSON_TYPE, 'Content-Length': body.length };
  response.writeHead(HTTP_STATUS[failure.code] ?? 500, headers);
  response.end(body);
}

/** Writes, and waits while the client is slow. */
async function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  if (response.write(bytes) || response.destroyed) return;
  const stop = new AbortController();
  const gone = (): void => stop.abort();
  response.once('close', gone);
  await once(response, 'drain', { signal: stop.signal }).catch(() => {});
  response.off('close', gone);
}
