import {
  createServer as createHttpServer,
  type ServerOptions as HttpServerOptions,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { createServer as createHttpsServer, Server as HttpsServer } from 'node:https';
import { type AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import {
  type ConnectionInjector,
  type Server as GrpcServer,
  ServerCredentials,
  type ServerOptions,
} from '@grpc/grpc-js';
import { assert } from '../../shared/base/assert.ts';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { AnswerRooms } from '../state/answer-rooms.ts';
import { AnswerTurns } from './answer-turns.ts';
import type { ClientLimits } from './client-limits.ts';
import { type AllowedClients, clientRefusal } from './client-names.ts';
import { DirectSocket } from './direct-socket.ts';
import { tellProtocol } from './first-bytes.ts';
import { inTurn } from './in-turn.ts';
import { Opening } from './opening.ts';
import { showSocket } from './peer.ts';
import type { DirectMethods } from './plain-request.ts';
import { SlowRequests } from './slow-requests.ts';
import type { TlsMaterial, TlsRules } from './tls-files.ts';
import { giveRoom } from './wanted.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from './windows.ts';

/**
 * Sockets. One port speaks gRPC and HTTP/1.1; a connection's first bytes tell which.
 *
 * Each listen URL is a `node:http` (or https) server, whose own connection listener is taken off and kept aside. A
 * new socket's first bytes are looked at: HTTP/1.1 goes to the listener that was kept, so node's time-outs and
 * bookkeeping hold as ever; HTTP/2 is looked at until its first request's headers (see `Opening`) and injected into
 * grpc-js; through a `DirectSocket`, which serves plain calls of KV, Lease, Auth and Watch itself, or, for a client that sends URLs
 * as `:authority`, an `AuthoritySocket`. After that nothing of ours is in the way of a call.
 *
 * With TLS, ALPN prefers http/1.1: gRPC clients offer h2 alone, while browsers, curl and probes offer both, and
 * grpc-js serves nothing but gRPC over h2.
 */

/** Of pages' URLs: a few scrapers, probes and people. No more than clients, where files are few. */
const METRICS_CONNECTIONS_MAX = 256;
const METRICS_CONNECTIONS_MIN = 16;
/** grpc-js's. */
const RECEIVE_BYTES_MAX_DEFAULT = 4 * 1024 * 1024;
const REFUSED_LOG_EVERY_MS = 10_000;
const HTTP_TIMEOUT_CHECK_MS = 5_000;
/** TCP's own keepalive, for peers that vanish without a word. */
const TCP_KEEPALIVE_DELAY_MS = 30_000;

type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** How https is spoken. */
export interface ListenerTls {
  readonly material: TlsMaterial;
  readonly rules?: TlsRules;
  /** Undefined: all whom the authorities of `material` signed; everyone when there are none. */
  readonly allowedClients?: AllowedClients | undefined;
}

export interface ListenerOptions {
  /** `http(s)://HOST:PORT` each; port 0 takes a free one. */
  readonly urls: readonly string[];
  /** URLs that serve HTTP/1.1 pages and nothing else. */
  readonly metrics?: { readonly urls: readonly string[]; readonly http: HttpHandler };
  /** Needed when a URL is https. */
  readonly tls?: ListenerTls;
  readonly limits: Pick<
    ClientLimits,
    'connections' | 'headerBytes' | 'handshakeMs' | 'requestReadMs' | 'waitingAnswerBytes'
  >;
  readonly grpc: GrpcServer;
  /** Whether a gRPC method's path is one of a bidirectional stream. */
  readonly isDuplex: (path: string) => boolean;
  /** Methods of `grpc` whose plain calls are served without it; none unless given. */
  readonly directMethods?: DirectMethods;
  readonly http: HttpHandler;
  readonly log: Log;
  readonly clock?: Clock;
}

interface EndpointParts {
  readonly url: string;
  /** Named when it can't be bound. */
  readonly flag: string;
  readonly http: HttpHandler;
  /** Whether HTTP/2 is served, which is gRPC. */
  readonly grpc: boolean;
  readonly connectionsMax: number;
}

interface Endpoint extends EndpointParts {
  readonly server: Server;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #clock: Clock;
  readonly #injector: ConnectionInjector;
  readonly #turns: AnswerTurns;
  readonly #rooms: AnswerRooms;
  readonly #slowRequests: SlowRequests;
  readonly #endpoints: readonly Endpoint[];
  /** Every open socket; a TLS connection has two, the raw one and the one inside. */
  readonly #sockets = new Set<Socket>();
  /** HTTP/2 connections that grpc-js has not got yet. */
  readonly #openings = new Set<Opening>();
  /** Connections refused since that was last logged. */
  #refused = 0;
  #closing = false;
  /** The socket of the connection that grpc-js is just given, when that is another stream. */
  #below: Socket | undefined;
  /** The connection that grpc-js is just given is from within this process. */
  #isOwn = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#rooms = new AnswerRooms(options.limits.waitingAnswerBytes);
    this.#clock = options.clock ?? systemClock;
    const { limits, isDuplex, log } = options;
    const timeoutMs = limits.requestReadMs;
    this.#slowRequests = new SlowRequests({ timeoutMs, isDuplex, clock: this.#clock, log });
    this.#injector = this.#createInjector();
    this.#turns = new AnswerTurns(this.#clock);
    const { urls, metrics, http } = options;
    const clients = urls.map((url) =>
      this.#createEndpoint({
        url,
        flag: '--listen-client-urls',
        http,
        grpc: true,
        connectionsMax: limits.connections,
      }),
    );
    const pages = metrics?.urls.map((url) =>
      this.#createEndpoint({
        ...{ url, flag: '--listen-metrics-urls', http: metrics.http, grpc: false },
        connectionsMax: Math.min(
          METRICS_CONNECTIONS_MAX,
          Math.max(METRICS_CONNECTIONS_MIN, limits.connections),
        ),
      }),
    );
    this.#endpoints = [...clients, ...(pages ?? [])];
  }

  /**
   * Binds every URL and starts accepting. If one can't be bound, none stays bound, and the error's message is one
   * line that says what to change.
   */
  async listen(): Promise<void> {
    const bound = await Promise.allSettled(this.#endpoints.map(bind));
    const failed = bound.find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    await this.close(0);
    throw failed.reason;
  }

  /** Where it listens for clients, as URLs with the ports that were bound; in the order of the options. */
  get addresses(): readonly string[] {
    return this.#endpoints.filter(({ grpc }) => grpc).map(boundAddress);
  }

  /** As `addresses`, of the metrics' URLs. */
  get metricsAddresses(): readonly string[] {
    return this.#endpoints.filter(({ grpc }) => !grpc).map(boundAddress);
  }

  /** Bytes of answers that clients have not taken, and calls that wait for that. */
  get answers(): { readonly bytes: number; readonly held: number } {
    return { bytes: this.#rooms.bytes, held: this.#rooms.waiting };
  }

  /** What connections from now on get; those that are open go on as they are. Sessions of before can't be resumed. */
  setTls(material: TlsMaterial): void {
    for (const { server } of this.#endpoints) {
      if (server instanceof HttpsServer) server.setSecureContext(this.#secureOptions(material));
    }
  }

  /** Serves gRPC on a connection from within this process. */
  inject(connection: Duplex): void {
    this.#isOwn = true;
    this.#injector.injectConnection(connection);
    this.#isOwn = false;
  }

  /** Refuses new connections; the open ones go on. Never fails, and may be called twice. */
  stopAccepting(): void {
    this.#closing = true;
    for (const { server } of this.#endpoints) server.close(() => {});
  }

  /**
   * Stops accepting, tells gRPC clients to go elsewhere (GOAWAY), lets open calls finish for up to `graceMs`, and
   * then cuts what is left. Resolves when every socket is closed.
   */
  async close(graceMs: number): Promise<void> {
    this.stopAccepting();
    for (const opening of this.#openings) opening.close();
    this.#injector.drain(graceMs);
    const timer = this.#clock.after(graceMs, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await Promise.all([...this.#sockets].map(closed));
    timer.cancel();
    this.#injector.destroy();
  }

  /**
   * grpc-js 1.14 has no server option for the receive windows (`grpc-node.flow_control_window` is read by its client
   * alone) nor for the size of headers, so they are set on the HTTP/2 server that it makes for an injector, which it
   * keeps in a private map. A test watches that this still works with the grpc-js that is installed.
   */
  #createInjector(): ConnectionInjector {
    const { grpc, limits } = this.#options;
    const { http2Servers } = grpc as unknown as { http2Servers: Map<Http2Server, unknown> };
    const before = new Set(http2Servers.keys());
    const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
    const server = [...http2Servers.keys()].find((candidate) => !before.has(candidate));
    assert(server !== undefined, 'grpc-js keeps the HTTP/2 server of an injector in http2Servers');
    server.updateSettings({ initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: limits.headerBytes });
    server.on('session', (session: ServerHttp2Session) => {
      if (this.#below !== undefined) showSocket(session, this.#below);
      if (!this.#isOwn) giveRoom(session, this.#rooms.open());
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    });
    this.#slowRequests.watch(server);
    return injector;
  }

  #createEndpoint(parts: EndpointParts): Endpoint {
    const { url, grpc, http, connectionsMax } = parts;
    const secure = url.startsWith('https:');
    const handler = inTurn((request, response) => {
      if (this.#closing) response.shouldKeepAlive = false;
      http(request, response);
    });
    const server = secure
      ? this.#createSecureServer(handler)
      : createHttpServer(this.#httpOptions(), handler);
    server.maxConnections = connectionsMax;
    server.on('drop', () => this.#onRefused(url, connectionsMax));
    const event = secure ? 'secureConnection' : 'connection';
    const serveHttp = server.listeners(event) as ((socket: Socket) => void)[];
    assert(serveHttp.length === 1, `node's ${event} listener is the only one`);
    server.removeAllListeners(event);
    server.on('connection', (socket: Socket) => this.#track(socket));
    // After the server is bound this means that one connection could not be accepted, as when files run out.
    server.on('error', (error: Error) => {
      if (server.listening) this.#options.log.warn('connection not accepted', { url, error: error.message });
    });
    server.on(event, (socket: Socket) => {
      if (secure) this.#track(socket);
      if (secure && !this.#admits(socket as TLSSocket)) return;
      this.#route(socket, grpc, (plain) => serveHttp[0]?.call(server, plain));
    });
    return { ...parts, server };
  }

  #httpOptions(): HttpServerOptions {
    const { handshakeMs, requestReadMs, headerBytes } = this.#options.limits;
    const headersTimeout = Math.min(handshakeMs, requestReadMs);
    return {
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_DELAY_MS,
      headersTimeout,
      requestTimeout: requestReadMs,
      connectionsCheckingInterval: Math.min(HTTP_TIMEOUT_CHECK_MS, headersTimeout),
      maxHeaderSize: headerBytes,
    };
  }

  #secureOptions(material: TlsMaterial): SecureContextOptions {
    const { minVersion = 'TLSv1.2', maxVersion = 'TLSv1.3', ciphers } = this.#options.tls?.rules ?? {};
    return {
      ...material,
      crl: [...(material.crl ?? [])],
      minVersion,
      maxVersion,
      ...(ciphers && { ciphers }),
    };
  }

  #createSecureServer(http: HttpHandler): Server {
    const { tls, limits } = this.#options;
    assert(tls !== undefined, 'an https URL needs a certificate');
    const { material } = tls;
    const server = createHttpsServer(
      {
        ...this.#httpOptions(),
        ...this.#secureOptions(material),
        requestCert: material.ca !== undefined,
        rejectUnauthorized: material.ca !== undefined,
        ALPNProtocols: ['http/1.1', 'h2'],
        handshakeTimeout: limits.handshakeMs,
      },
      http,
    );
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => this.#onHandshakeError(error, socket));
    return server;
  }

  /** Whether a client that has shown a certificate may come in; else it is closed. */
  #admits(socket: TLSSocket): boolean {
    forbidRenegotiation(socket);
    const allowed = this.#options.tls?.allowedClients;
    const refusal = allowed && clientRefusal(allowed, socket);
    if (refusal !== undefined) this.#onHandshakeError(new Error(refusal), socket);
    return refusal === undefined;
  }

  /** One line for many: a flood must not become a flood of the log. */
  #onRefused(url: string, connectionsMax: number): void {
    if (this.#refused++ > 0) return;
    this.#clock.after(REFUSED_LOG_EVERY_MS, () => {
      const fields = { url, refused: this.#refused, connectionsMax };
      this.#options.log.warn('connections refused: as many as are allowed are open', fields);
      this.#refused = 0;
    });
  }

  /** As etcd, a refused client is a warning; one that only hung up, as port scanners and probes do, is not. */
  #onHandshakeError(error: Error & { code?: string }, socket: TLSSocket): void {
    const level = error.code === 'ECONNRESET' ? 'debug' : 'warn';
    this.#options.log[level]('rejected connection on client endpoint', {
      remote: socket.remoteAddress,
      error: error.message,
    });
    socket.destroy();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Stays for the socket's life: an error that comes between two owners must not end the process.
    socket.on('error', (error: Error) => {
      this.#options.log.debug('connection failed', { remote: socket.remoteAddress, error: error.message });
    });
  }

  #route(socket: Socket, grpc: boolean, serveHttp: (socket: Socket) => void): void {
    tellProtocol(socket, this.#clock, this.#options.limits.handshakeMs, (protocol) => {
      if (this.#closing) socket.destroy();
      else if (protocol === 'http1') serveHttp(socket);
      else if (grpc) this.#open(socket);
      else socket.destroy();
    });
  }

  #open(socket: Socket): void {
    // http servers leave half-closed sockets open; in HTTP/2 a client that has ended is gone.
    socket.allowHalfOpen = false;
    // node refuses HTTP/2 on a TLS socket without ALPN, but the client's first bytes have said what it speaks.
    const secure = socket as Partial<TLSSocket>;
    if (secure.alpnProtocol === false) secure.alpnProtocol = 'h2';
    const opening = new Opening(socket, {
      clock: this.#clock,
      maxConcurrentStreams: grpcOption(this.#options.grpc, 'grpc.max_concurrent_streams'),
      timeoutMs: this.#options.limits.handshakeMs,
      handOver: (connection) => {
        this.#openings.delete(opening);
        this.#give(this.#withDirectMethods(connection), socket);
      },
    });
    this.#openings.add(opening);
    socket.once('close', () => this.#openings.delete(opening));
    opening.start();
  }

  /** Gives grpc-js a connection over `socket`. node makes its session at once. */
  #give(connection: Duplex, socket: Socket): void {
    this.#below = connection === socket ? undefined : socket;
    this.#injector.injectConnection(connection);
    this.#below = undefined;
  }

  /** The connection that grpc-js gets. What `Opening` has wrapped already is for old clients. */
  #withDirectMethods(connection: Duplex): Duplex {
    const { directMethods: methods, grpc } = this.#options;
    if (methods === undefined || !(connection instanceof Socket)) return connection;
    return new DirectSocket(connection, {
      ...{ clock: this.#clock, turns: this.#turns, slowRequests: this.#slowRequests, methods },
      maxConcurrentStreams: grpcOption(grpc, 'grpc.max_concurrent_streams'),
      messageBytesMax: grpcOption(grpc, 'grpc.max_receive_message_length') ?? RECEIVE_BYTES_MAX_DEFAULT,
      room: this.#rooms.open(),
    });
  }
}

/**
 * Ends the connection of a client of TLS 1.2 that begins another handshake, in which it could show another certificate;
 * TLS 1.3 has no such thing, Go's servers refuse it, and HTTP/2 forbids it. node only tells of it.
 */
function forbidRenegotiation(socket: TLSSocket): void {
  if (socket.getProtocol() === 'TLSv1.3') return;
  socket.disableRenegotiation();
  socket.once('error', () => socket.destroy());
}

/** What the server was made with, from grpc-js's private options; undefined when that was not said. */
function grpcOption(
  grpc: GrpcServer,
  name: 'grpc.max_concurrent_streams' | 'grpc.max_receive_message_length',
): number | undefined {
  const { options } = grpc as unknown as { options?: ServerOptions };
  return options?.[name];
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

function bind({ url, server, flag }: Endpoint): Promise<void> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  // URL drops the port that is its scheme's own.
  const portNumber = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      reject(new Error(`${flag}: ${url} ${bindTrouble(error)}`));
    server.once('error', onError);
    server.listen(portNumber, host, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function bindTrouble({ code, message }: NodeJS.ErrnoException): string {
  const why: Record<string, string> = {
    EADDRINUSE: 'is in use already; end what listens there or choose another port',
    EACCES: 'needs privileges that this process has not; choose a port from 1024 up',
    EADDRNOTAVAIL: 'is not an address of this machine; use one that is, or 0.0.0.0 for all',
  };
  return why[code ?? ''] ?? `can't be bound: ${message}`;
}

function boundAddress({ url, server }: Endpoint): string {
  const address = server.address() as AddressInfo | null;
  return address === null ? url : url.replace(/:\d+$/, `:${address.port}`);
}
