import type { Server as GrpcServer, ServerDuplexStream } from '@grpc/grpc-js';
import { assert } from '../../shared/base/assert.ts';
import { type CallFailure, notImplemented, unknownPath } from './status.ts';

interface Handler {
  readonly type: 'bidi';
  readonly path: string;
  readonly serialize: (bytes: Buffer) => Buffer;
  readonly deserialize: (bytes: Buffer) => Buffer;
  readonly func: (call: ServerDuplexStream<Buffer, Buffer>) => void;
}

/**
 * Has calls of methods that are not there refused in grpc-go's words, which tell a service that is not there from a
 * method. grpc-js has words of its own and no option for them, so it is given a handler for each such path where it
 * looks for one, in a private map. To be called when all services are there.
 */
export function refuseUnknownMethods(grpc: GrpcServer): void {
  const { handlers } = grpc as unknown as { handlers: Map<string, Handler> };
  assert(handlers instanceof Map && handlers.size > 0, 'grpc-js keeps its handlers in a map by path');
  const services = new Set([...handlers.keys()].map((path) => partsOf(path)?.service));
  const known = handlers.get.bind(handlers);
  handlers.get = (path) => known(path) ?? refusing(path, failureFor(path, services));
}

function failureFor(path: string, services: ReadonlySet<string | undefined>): CallFailure {
  const parts = partsOf(path);
  if (parts === undefined) return unknownPath(`malformed method name: ${JSON.stringify(path)}`);
  const { service, method } = parts;
  return services.has(service) ? notImplemented(service, method) : unknownPath(`unknown service ${service}`);
}

/** As grpc-go parts it: a slash before it is no part of it, and the last one ends the service. */
function partsOf(path: string): { service: string; method: string } | undefined {
  const name = path.startsWith('/') ? path.slice(1) : path;
  const slash = name.lastIndexOf('/');
  if (slash < 0) return undefined;
  return { service: name.slice(0, slash), method: name.slice(slash + 1) };
}

/** Of a stream in both directions, since that waits for no message. */
function refusing(path: string, failure: CallFailure): Handler {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    type: 'bidi',
    path,
    serialize: same,
    deserialize: same,
    func: (call) => void call.emit('error', failure),
  };
}
