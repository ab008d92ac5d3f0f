import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Latencies, type LatencySummary } from '../measure/latency.ts';
import type { Answer, Backend } from './backend.ts';
import { type DelaySettings, delayDraws, seededFractions } from './delay.ts';

/**
 * A PUT's time is mostly the store's own work of making it durable, so its effect comes at its 'end'. With
 * 'start' the effect is at once and only the answer is late: of two PUTs of one name the first to arrive makes
 * the object, whichever is answered first.
 */
export const PUT_EFFECTS = ['end', 'start'] as const;
export type PutEffect = (typeof PUT_EFFECTS)[number];

export interface SlowStoreSettings {
  readonly backend: Backend;
  /** Delay of PUT and POST: what makes objects. */
  readonly put: DelaySettings;
  /** Delay of everything else. */
  readonly read: DelaySettings;
  /** Whether an object is made when its PUT arrives and the answer waits, or when the delay is over. */
  readonly putEffect: PutEffect;
  readonly seed: number;
  /** 0 takes a free port. */
  readonly port: number;
  readonly adminPort: number;
}

/** Counters since the start or the last reset; requests count when their answer has gone out. */
export interface StoreStats {
  readonly backend: string;
  readonly putMedianMsConfigured: number;
  readonly puts: number;
  readonly putBytes: number;
  /** PUTs answered 412: the object was there already. */
  readonly putsRefused: number;
  /** PUTs answered with anything else that is not 2xx. */
  readonly putsFailed: number;
  readonly putsInFlightMax: number;
  readonly reads: number;
  readonly lists: number;
  readonly deletes: number;
  /** From a PUT's arrival to the end of its answer. */
  readonly putLatency: LatencySummary;
}

export interface SlowStore {
  readonly port: number;
  /** `GET /__stats` answers `StoreStats` as JSON; `POST /__reset` answers them and starts anew. */
  readonly adminPort: number;
  stats(): StoreStats;
  reset(): void;
  stop(): Promise<void>;
}

const zeroCounts = {
  puts: 0,
  putBytes: 0,
  putsRefused: 0,
  putsFailed: 0,
  putsInFlightMax: 0,
  reads: 0,
  lists: 0,
  deletes: 0,
};

/** Counts what passes. Invariant: `inFlight` is the number of PUTs that came and are not answered. */
class StoreCounters {
  private counts = { ...zeroCounts };
  private readonly putLatencies = new Latencies();
  private inFlight = 0;

  arrived(request: IncomingMessage): void {
    if (request.method !== 'PUT') return;
    this.inFlight++;
    this.counts.putsInFlightMax = Math.max(this.counts.putsInFlightMax, this.inFlight);
  }

  answered(request: IncomingMessage, status: number, elapsedMs: number): void {
    const { counts } = this;
    if (request.method === 'GET' || request.method === 'HEAD') {
      if (request.url?.includes('list-type=2')) counts.lists++;
      else counts.reads++;
    }
    if (request.method === 'DELETE') counts.deletes++;
    if (request.method !== 'PUT') return;
    this.inFlight--;
    counts.puts++;
    counts.putBytes += Number(request.headers['content-length'] ?? 0);
    if (status === 412) counts.putsRefused++;
    else if (status >= 300) counts.putsFailed++;
    this.putLatencies.record(elapsedMs);
  }

  reset(): void {
    this.counts = { ...zeroCounts, putsInFlightMax: this.inFlight };
    this.putLatencies.reset();
  }

  stats(settings: SlowStoreSettings): StoreStats {
    return {
      backend: settings.backend.name,
      putMedianMsConfigured: settings.put.medianMs,
      ...this.counts,
      putLatency: this.putLatencies.summary(),
    };
  }
}

/**
 * An S3 endpoint on loopback that holds every request back for its drawn delay: PUTs as `putEffect` says, of the
 * others the answer, in which the backend's own time is part of the delay.
 */
export async function startSlowStore(settings: SlowStoreSettings): Promise<SlowStore> {
  const fraction = seededFractions(settings.seed);
  const putDelay = delayDraws(settings.put, fraction);
  const readDelay = delayDraws(settings.read, fraction);
  const counters = new StoreCounters();

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const arrivedMs = performance.now();
    counters.arrived(request);
    response.once('close', () => {
      // 499 is nginx's word for a client that hung up before its answer.
      const status = response.writableFinished ? response.statusCode : 499;
      counters.answered(request, status, performance.now() - arrivedMs);
    });
    const creates = request.method === 'PUT' || request.method === 'POST';
    const dueMs = arrivedMs + (creates ? putDelay() : readDelay());
    if (request.method === 'PUT' && settings.putEffect === 'end') await until(dueMs);
    const answer = await settings.backend.handle(request).catch(badGateway);
    await until(dueMs);
    send(response, answer);
  };

  const store = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    // `serve` handles its own failures; what is left is a client that went away.
    serve(request, response).catch(() => response.destroy());
  });
  store.on('connection', (socket) => socket.setNoDelay(true));
  const stats = (): StoreStats => counters.stats(settings);
  const admin = adminServer(stats, () => counters.reset());
  const [port, adminPort] = [await listen(store, settings.port), await listen(admin, settings.adminPort)];
  const stop = async (): Promise<void> => {
    await Promise.all([close(store), close(admin)]);
    settings.backend.close();
  };
  return { port, adminPort, stats, reset: () => counters.reset(), stop };
}

function badGateway(error: unknown): Answer {
  return { status: 502, headers: ['Content-Type', 'text/plain'], body: Buffer.from(String(error)) };
}

/**
 * Timers count whole milliseconds and fire a little late; the two about cancel out, so that the
 * median is the one asked for, and one answer may leave up to a millisecond early or late.
 */
function until(dueMs: number): Promise<void> {
  const waitMs = dueMs - performance.now();
  return waitMs < 0.5 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, waitMs));
}

function send(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, [...answer.headers]);
  if (answer.body === undefined || answer.body instanceof Uint8Array) {
    response.end(answer.body);
    return;
  }
  answer.body.on('error', () => response.destroy());
  answer.body.pipe(response);
}

function adminServer(stats: () => StoreStats, reset: () => void): Server {
  return createServer((request, response) => {
    const known = request.url === '/__stats' || request.url === '/__reset';
    const body = known ? JSON.stringify(stats()) : '{}';
    if (request.url === '/__reset' && request.method === 'POST') reset();
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' }).end(body);
  });
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
