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
