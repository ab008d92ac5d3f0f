import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { listen, portOf } from './loopback.ts';

/**
 * What a proxy does with connections: `pass` forwards, `refuse` closes at once (new ones and those there are), `hang`
 * accepts and forwards nothing either way, `lose answers` forwards what clients say and cuts the connection where the
 * first bytes of an answer come.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang' | 'lose answers';

/** A TCP proxy on a free loopback port that can take its target away. */
export class TcpProxy {
  /** Answers lost so far. */
  lostAnswers = 0;
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #mode: ProxyMode = 'pass';

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** A proxy to a port of the loopback. */
  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await listen(proxy.#server);
    return proxy;
  }

  get port(): number {
    return portOf(this.#server);
  }

  /** Changes what happens from now on; connections that the new mode can't have gone on with are cut. */
  set mode(mode: ProxyMode) {
    // What hung has lost its place in the conversation.
    const cuts = mode === 'refuse' || this.#mode === 'hang';
    this.#mode = mode;
    if (cuts) this.#cut();
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#cut();
    await once(this.#server, 'close');
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    this.#track(client);
    if (this.#mode === 'refuse') {
      client.destroy();
      return;
    }
    const target = connect({ port: this.#target, host: '127.0.0.1' });
    this.#track(target);
    client.on('close', () => target.destroy());
    target.on('close', () => client.destroy());
    client.on('data', (bytes) => {
      if (this.#mode !== 'hang') target.write(bytes);
    });
    target.on('data', (bytes) => this.#answer(client, bytes));
  }

  #answer(client: Socket, bytes: Buffer): void {
    if (this.#mode === 'pass') client.write(bytes);
    else if (this.#mode === 'lose answers') {
      this.lostAnswers++;
      client.destroy();
    }
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
