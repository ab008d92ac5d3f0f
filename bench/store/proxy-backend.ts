import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Answer, Backend } from './backend.ts';

/**
 * Hands every request to a real S3 server, byte for byte. The client's own Host header is kept,
 * because its SigV4 signature covers it.
 */
export function proxyBackend(upstream: URL): Backend {
  const agent = new Agent({ keepAlive: true, maxSockets: 256, noDelay: true });
  const handle = (incoming: IncomingMessage): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const outgoing = httpRequest({
        agent,
        host: upstream.hostname,
        port: upstream.port === '' ? 80 : Number(upstream.port),
        method: incoming.method,
        path: incoming.url,
        headers: incoming.rawHeaders,
        setHost: false,
      });
      outgoing.on('error', reject);
      outgoing.on('response', (answer) => {
        resolve({ status: answer.statusCode ?? 502, headers: answer.rawHeaders, body: answer });
      });
      incoming.on('error', (error) => outgoing.destroy(error));
      incoming.pipe(outgoing);
    });
  return { name: `proxy to ${upstream.origin}`, handle, close: () => agent.destroy() };
}
