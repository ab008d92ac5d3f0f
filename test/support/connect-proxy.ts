import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { closeHttp, listen, portOf } from './loopback.ts';

/** A forward proxy that knows CONNECT only, wants a password, and leads to one port of the loopback. */
export class ConnectProxy {
  /** `host:port` of each CONNECT that it took. */
  readonly tunnels: string[] = [];
  /** How many it refused for want of the password. */
  refusals = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: number, password: string) {
    const expected = `Basic ${Buffer.from(`user:${password}`).toString('base64')}`;
    this.#server = createServer((_request, response) => response.writeHead(405).end());
    this.#server.on('connect', (request: IncomingMessage, client: Socket) => {
      this.#track(client);
      if (request.headers['proxy-authorization'] !== expected) {
        this.refusals++;
        client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      this.tunnels.push(request.url ?? '');
      const upstream = connect(target, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
      this.#track(upstream);
    });
  }

  static async start(target: number, password: string): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(target, password);
    await listen(proxy.#server);
    return proxy;
  }

  /** `127.0.0.1:port` */
  get authority(): string {
    return `127.0.0.1:${portOf(this.#server)}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await closeHttp(this.#server);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
