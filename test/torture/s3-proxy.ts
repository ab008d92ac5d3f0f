import { once } from 'node:events';
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../src/shared/base/clock.ts';
import type { Seeded } from '../support/seeded.ts';

/**
 * A proxy in front of an S3 server that knows where a request begins and ends, and so what a network and a store can do
 * to one. It holds each request until it has all of it: what its sender had sent when it was killed is on its way.
 */

/** What may happen to a request, and how often each came: shares of the requests, at most 1 together. */
export interface Weather {
  /** Up to so much passes on the way there, and on the way back. */
  readonly delayMsMax: number;
  /** The connection is cut before the store hears of the request. */
  readonly cutBefore: number;
  /** 503 or 429 instead. */
  readonly busy: number;
  /** The store does as it is asked, and the connection is cut instead of the answer. */
  readonly loseAnswer: number;
  /** As `loseAnswer`, after the first half of the answer. */
  readonly halfAnswer: number;
  /** A PUT reaches the store so much later, whatever has become of its sender. */
  readonly latePut: number;
  readonly lateMs: readonly [from: number, to: number];
}

export const FAIR: Weather = {
  delayMsMax: 0,
  cutBefore: 0,
  busy: 0,
  loseAnswer: 0,
  halfAnswer: 0,
  latePut: 0,
  lateMs: [0, 0],
};

/** How a store can be away: it refuses connections, answers nothing, or answers 503. */
export type Outage = 'refuses' | 'hangs' | '503';

export type FaultName =
  | 'delay'
  | 'cut before'
  | 'busy'
  | 'answer lost'
  | 'half an answer'
  | 'late PUT'
  | 'late PUT of a dead sender'
  | 'outage: refuses'
  | 'outage: hangs'
  | 'outage: 503';

interface Reply {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

export class S3Proxy {
  weather = FAIR;
  /** How often each fault was. */
  readonly faults = new Map<FaultName, number>();
  readonly #server: Server;
  readonly #target: URL;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #random: Seeded;
  readonly #hanging = new Set<IncomingMessage>();
  #outage: Outage | undefined;
  /** Requests that the store has not answered, late ones among them. */
  #underWay = 0;

  private constructor(target: string, random: Seeded) {
    this.#target = new URL(target);
    this.#random = random;
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.keepAliveTimeout = 60_000;
  }

  /** A proxy to the S3 server at the URL `target`. */
  static async start(target: string, random: Seeded): Promise<S3Proxy> {
    const proxy = new S3Proxy(target, random);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Takes the store away from now on, or gives it back; then what hung is cut. */
  set outage(outage: Outage | undefined) {
    this.#outage = outage;
    if (outage === 'refuses') this.#server.closeAllConnections();
    if (outage !== undefined) return;
    for (const request of this.#hanging) request.socket.destroy();
    this.#hanging.clear();
  }

  /** Waits until everything that is on its way has arrived. */
  async drained(): Promise<void> {
    while (this.#underWay > 0) await systemClock.sleep(10);
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await this.drained();
    this.#agent.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    const body = await bodyOf(request);
    // Its sender is gone before it sent all of it: nobody will see any of it.
    if (body === undefined) return;
    if (this.#outage !== undefined) {
      this.#beAway(this.#outage, request, response);
      return;
    }
    const fate = this.#fate(request.method === 'PUT');
    if (fate !== undefined) this.#count(fate);
    if (fate === 'busy') {
      await refuse(response, this.#random.pick([503, 429]));
    } else if (fate === 'cut before') request.socket.destroy();
    else await this.#forward(request, response, body, fate);
  }

  async #forward(
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer,
    fate: FaultName | undefined,
  ): Promise<void> {
    this.#underWay++;
    try {
      if (fate === 'late PUT') {
        const [from, to] = this.weather.lateMs;
        await systemClock.sleep(this.#random.integer(from, to));
        if (request.socket.destroyed) this.#count('late PUT of a dead sender');
      } else await this.#delay();
      const reply = await this.#ask(request, body);
      if (fate !== 'late PUT') await this.#delay();
      answer(request, response, reply, fate);
    } catch {
      // The store is gone, as at the end of a test.
      request.socket.destroy();
    } finally {
      this.#underWay--;
    }
  }

  #fate(isPut: boolean): FaultName | undefined {
    const { cutBefore, busy, loseAnswer, halfAnswer, latePut } = this.weather;
    const shares: readonly (readonly [FaultName, number])[] = [
      ['cut before', cutBefore],
      ['busy', busy],
      ['answer lost', loseAnswer],
      ['half an answer', halfAnswer],
      ['late PUT', isPut ? latePut : 0],
    ];
    let at = this.#random.fraction();
    for (const [fault, share] of shares) {
      at -= share;
      if (at < 0) return fault;
    }
    return undefined;
  }

  #beAway(outage: Outage, request: IncomingMessage, response: ServerResponse): void {
    this.#count(`outage: ${outage}`);
    if (outage === 'hangs') this.#hanging.add(request);
    else if (outage === '503') void refuse(response, 503);
    else request.socket.destroy();
  }

  async #delay(): Promise<void> {
    const { delayMsMax } = this.weather;
    if (delayMsMax === 0) return;
    this.#count('delay');
    await systemClock.sleep(this.#random.fraction() ** 3 * delayMsMax);
  }

  async #ask(request: IncomingMessage, body: Buffer): Promise<Reply> {
    const { hostname, port } = this.#target;
    const asked = httpRequest({
      ...{ hostname, port, agent: this.#agent },
      ...{ method: request.method, path: request.url },
      // As they came: the signature covers the host that the client was told.
      headers: request.rawHeaders as unknown as readonly string[],
    });
    asked.end(body);
    const [reply] = (await once(asked, 'response')) as [IncomingMessage];
    const bytes = await bodyOf(reply);
    if (bytes === undefined) throw new Error('the store broke off');
    return { status: reply.statusCode!, headers: reply.rawHeaders, body: bytes };
  }

  #count(fault: FaultName): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }
}

/** All of it; undefined when it breaks off. */
async function bodyOf(message: IncomingMessage): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of message) pieces.push(piece as Buffer);
  } catch {
    return undefined;
  }
  return message.complete ? Buffer.concat(pieces) : undefined;
}

function answer(
  { socket }: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: Reply,
  fate: FaultName | undefined,
): void {
  if (fate === 'answer lost') socket.destroy();
  if (socket.destroyed) return;
  response.writeHead(status, headers as string[]);
  if (fate !== 'half an answer') response.end(body);
  else response.write(body.subarray(0, body.length >> 1), () => socket.destroy());
}

async function refuse(response: ServerResponse, status: 503 | 429): Promise<void> {
  const body = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>injected</Message></Error>';
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': body.length });
  response.end(body);
}
