import type { IncomingMessage, ServerResponse } from 'node:http';
import { posix } from 'node:path';
import { type PeerCertificate, TLSSocket } from 'node:tls';
import type { Gateway } from './gateway.ts';

type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** etcd's, which by default lets every origin in. */
const CORS_HEADERS = {
  'Access-Control-Allow-Methods': 'POST, GET, OPTIONS, PUT, DELETE',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': 'accept, content-type, authorization',
};

const GATEWAY_ROOT = '/v3/';
const COMMON_NAME_REFUSAL =
  'CommonName of client sending a request against gateway will be ignored and not used as expected\n';
/** Where the gateway was before etcd 3.4. */
const OLD_GATEWAY_ROOT = '/v3beta/';

export interface FrontParts {
  readonly gateway: Gateway;
  /** All that is not the gateway's. */
  readonly pages: HttpHandler;
  /** Whether clients show certificates, and auth is enabled: who they name counts for gRPC alone. */
  readonly certificatesCount: () => boolean;
}

/** What comes first to an HTTP request on the client port, as in etcd. */
export function createFront({ gateway, pages, certificatesCount }: FrontParts): HttpHandler {
  return (request, response) => {
    const { path, query } = splitUrl(request.url ?? '/');
    if (path === undefined) return refuse(response, '400 Bad Request');
    const wanted = path.startsWith(OLD_GATEWAY_ROOT) ? path.replace(OLD_GATEWAY_ROOT, GATEWAY_ROOT) : path;
    if (wanted.startsWith(GATEWAY_ROOT) && certificatesCount() && hasCommonName(request)) {
      return refuse(response, COMMON_NAME_REFUSAL);
    }
    for (const [name, value] of Object.entries(CORS_HEADERS)) response.setHeader(name, value);
    if (request.method === 'OPTIONS') {
      response.end();
      return;
    }
    const clean = cleanPath(wanted);
    if (clean !== wanted) redirect(request, response, clean + query);
    else if (wanted.startsWith(GATEWAY_ROOT)) gateway.handle(request, response, wanted);
    else pages(request, response);
  };
}

/** The path, decoded, and the query with its question mark; a path that can't be decoded is undefined. */
function splitUrl(url: string): { path: string | undefined; query: string } {
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = mark === -1 ? '' : url.slice(mark);
  try {
    return { path: decodeURIComponent(path), query };
  } catch {
    return { path: undefined, query };
  }
}

/** The path that Go's mux would serve instead of this one: no `//`, no `.` or `..`, and `/v3` is a directory. */
function cleanPath(path: string): string {
  if (!path.startsWith('/')) return path;
  const clean = posix.normalize(path);
  return `${clean}/` === GATEWAY_ROOT ? GATEWAY_ROOT : clean;
}

function redirect(request: IncomingMessage, response: ServerResponse, location: string): void {
  const target = encodeURI(location);
  const isGet = request.method === 'GET' || request.method === 'HEAD';
  const type = isGet ? { 'Content-Type': 'text/html; charset=utf-8' } : {};
  response.writeHead(307, { Location: target, ...type });
  response.end(
    isGet ? `<a href="${target.replaceAll('"', '&#34;')}">Temporary Redirect</a>.\n\n` : undefined,
  );
}

function hasCommonName({ socket }: IncomingMessage): boolean {
  if (!(socket instanceof TLSSocket)) return false;
  // Without a certificate this is an empty object, whatever its type says.
  const { subject } = socket.getPeerCertificate() as Partial<PeerCertificate>;
  return (subject?.CN ?? '') !== '';
}

/** As Go's server, or etcd, answers before it looks at what is asked for. */
function refuse(response: ServerResponse, text: string): void {
  response.shouldKeepAlive = false;
  response.writeHead(400, { 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(text);
}
