import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';

type Headers = Readonly<Record<string, string>>;

/** One HTTP/1.1 request to a gateway. */
export interface GatewayRequest {
  /** POST by default. */
  readonly method?: string;
  readonly path: string;
  /** A function when they differ from server to server, as tokens do. */
  readonly headers?: Headers | ((endpoint: string) => Headers);
  readonly body?: string | Uint8Array;
  /** For answers that don't end: how many lines to wait for before hanging up. */
  readonly lines?: number;
  /** How long the answer may take; 20 s by default. */
  readonly timeoutMs?: number;
}

export interface GatewayAnswer {
  readonly status: number;
  readonly headers: Readonly<IncomingMessage['headers']>;
  readonly body: string;
}

const TIMEOUT_MS = 20_000;
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Sends a request with exactly these bytes, and waits for the whole answer or for so many lines of it. */
export function send(endpoint: string, sent: GatewayRequest): Promise<GatewayAnswer> {
  const { method = 'POST', path, headers = {}, body = '', lines, timeoutMs = TIMEOUT_MS } = sent;
  const { hostname, port } = new URL(endpoint);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      agent,
      hostname,
      port,
      path,
      method,
      headers: typeof headers === 'function' ? headers(endpoint) : headers,
    });
    // A request must be answered even when nothing else keeps this process alive.
    const timer = setTimeout(() => request.destroy(new Error(`no answer to ${method} ${path}`)), timeoutMs);
    request.on('error', reject);
    request.on('close', () => clearTimeout(timer));
    request.on('response', (response) => {
      const pieces: Buffer[] = [];
      const done = (): void => {
        const text = Buffer.concat(pieces).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      };
      response.on('data', (piece: Buffer) => {
        pieces.push(piece);
        if (lines === undefined || linesIn(pieces) < lines) return;
        done();
        request.destroy();
      });
      response.on('end', done);
      response.on('error', reject);
    });
    request.end(body);
  });
}

function linesIn(pieces: readonly Buffer[]): number {
  return Buffer.concat(pieces).toString('latin1').split('\n').length - 1;
}

/** Sends a message as JSON and takes the answer apart. */
export async function post(
  endpoint: string,
  path: string,
  message: unknown = {},
): Promise<Record<string, unknown>> {
  const { body } = await send(endpoint, { path, body: JSON.stringify(message) });
  return JSON.parse(body) as Record<string, unknown>;
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
