import { once } from 'node:events';
import { createServer, request as forward, type IncomingMessage, type Server } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { closeHttp, listen, portOf } from './loopback.ts';

export interface Passing {
  readonly method: string;
  readonly url: string;
}

/** A reply as the one in between gives it; what is missing is as the server behind says. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** What becomes of a request: another answer in the server's stead, or a change of its answer; undefined: nothing. */
export type Deed =
  | { readonly instead: Reply }
  | { readonly change: (body: Buffer, reply: Required<Reply>) => Reply }
  | undefined;

/** An HTTP proxy between netsy and a real S3 server. Requests go on as they are, signatures too. */
export class Between {
  /** Asked for each request. */
  deed: (request: Passing) => Deed = () => undefined;
  /** How many requests met a deed. */
  done = 0;
  readonly #server: Server;
  readonly #behind: URL;

  private constructor(behind: string) {
    this.#behind = new URL(behind);
    this.#server = createServer((request, response) => {
      this.#answer(request).then(
        ({ status = 200, headers = {}, body = Buffer.alloc(0) }) => {
          response.writeHead(status, { ...headers, 'content-length': body.length }).end(body);
        },
        () => response.destroy(),
      );
    });
  }

  static async start(behind: string): Promise<Between> {
    const between = new Between(behind);
    await listen(between.#server);
    return between;
  }

  /** `http://127.0.0.1:port` */
  get endpoint(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  async stop(): Promise<void> {
    await closeHttp(this.#server);
  }

  async #answer(request: IncomingMessage): Promise<Reply> {
    const sent = await buffer(request);
    const deed = this.deed({ method: request.method ?? '', url: request.url ?? '' });
    if (deed !== undefined) this.done++;
    if (deed !== undefined && 'instead' in deed) return deed.instead;
    const reply = await this.#pass(request, sent);
    return deed === undefined ? reply : { ...reply, ...deed.change(reply.body, reply) };
  }

  async #pass({ method, url, headers }: IncomingMessage, sent: Buffer): Promise<Required<Reply>> {
    const { hostname: host, port } = this.#behind;
    const passed = forward({ host, port, method, path: url, headers });
    passed.end(sent);
    const [reply] = (await once(passed, 'response')) as [IncomingMessage];
    const body = await buffer(reply);
    const { 'transfer-encoding': _, ...kept } = reply.headers;
    const named = Object.entries(kept).map(([name, value]) => [name, String(value)] as const);
    return { status: reply.statusCode ?? 0, headers: Object.fromEntries(named), body };
  }
}
