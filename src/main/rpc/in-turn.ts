import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * A handler that has one request of a connection at a time. HTTP/1.1 lets a client send the next ones before it has taken an
 * answer, and node hands them over at once, so that all their answers would be in memory. What is not handed over is
 * not read, but for what the socket's buffers take.
 */
export function inTurn(handle: HttpHandler): HttpHandler {
  const last = new WeakMap<Socket, ServerResponse>();
  return (request, response) => {
    const before = last.get(request.socket);
    last.set(request.socket, response);
    if (before === undefined || before.closed) handle(request, response);
    else before.once('close', () => !request.destroyed && handle(request, response));
  };
}
