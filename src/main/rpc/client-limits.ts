/** What clients may take of the server. */
export interface ClientLimits {
  /** Open connections to one client URL. */
  readonly connections: number;
  /** Open calls of one connection. */
  readonly streamsPerConnection: number;
  /** Open streaming calls of all connections together. */
  readonly streams: number;
  /** Headers of one request. */
  readonly headerBytes: number;
  /** For the TLS handshake, then the first bytes, then the first headers. */
  readonly handshakeMs: number;
  /** Of answers that one connection's client has not taken. */
  readonly waitingAnswerBytes: number;
  /** From a request's beginning until it is there whole. */
  readonly requestReadMs: number;
}

/** Open files that are not for clients: the store's connections, SQLite's, the threads', and the pages' connections. */
const OWN_FILES = 512;
/** Of few files, what clients may take at most. */
const CLIENTS_SHARE = 1 / 4;

/**
 * How many connections to each of so many URLs leave the process the files that it needs to serve them, of
 * `openFiles`; no more than `wanted`.
 */
export function connectionsWithin(openFiles: number, urls: number, wanted: number): number {
  const clients = Math.max(openFiles - OWN_FILES, openFiles * CLIENTS_SHARE);
  return Math.min(wanted, Math.max(1, Math.floor(clients / urls)));
}
