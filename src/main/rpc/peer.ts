import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { type PeerCertificate, TLSSocket } from 'node:tls';
import type { UnaryCall } from './service.ts';

type AuthContext = ReturnType<UnaryCall['getAuthContext']>;

/** Who is at the other end of a socket, in the words of grpc-js's calls. */
export class Peer {
  readonly #socket: Socket;
  #authContext: AuthContext | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Address and port, or `unknown` once the connection is gone. */
  get address(): string {
    const { remoteAddress, remotePort } = this.#socket;
    return remoteAddress === undefined ? 'unknown' : `${remoteAddress}:${remotePort}`;
  }

  /**
   * The certificate that was shown in the handshake, if there was one and it was verified. It is read once, for a
   * connection shows no other later (`Listener` allows no renegotiation).
   */
  get authContext(): AuthContext {
    this.#authContext ??= readAuthContext(this.#socket);
    return this.#authContext;
  }
}

function readAuthContext(socket: Socket): AuthContext {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
  // Null when the connection is gone, and an empty object without a certificate, whatever its type says.
  const certificate = socket.getPeerCertificate() as Partial<PeerCertificate> | null;
  const shown = certificate?.raw !== undefined;
  return {
    transportSecurityType: 'ssl',
    ...(shown && { sslPeerCertificate: certificate as PeerCertificate }),
  };
}

/**
 * Makes a session that runs over a stream of ours tell grpc-js of the socket below, whose address and certificate are
 * the client's. grpc-js asks `session.socket`, and node itself does not use that property.
 */
export function showSocket(session: ServerHttp2Session, socket: Socket): void {
  Object.defineProperty(session, 'socket', { value: socket });
}
