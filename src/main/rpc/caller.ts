import type { Metadata } from '@grpc/grpc-js';
import type { Credentials } from '../auth/store.ts';
import { lastCommonName } from './client-names.ts';
import type { UnaryCall } from './service.ts';

/** What a call carries of who makes it. Nothing of it is looked at while auth is disabled. */
export type Caller = Pick<UnaryCall, 'metadata' | 'getAuthContext'>;

/** Where a client puts its token (etcd's rpctypes/metadatafields.go); the first of them counts. */
const TOKEN_FIELDS = ['token', 'authorization'] as const;
const BEARER = 'Bearer ';
/** The mark of etcd's JSON gateway, whose own certificate says nothing of who uses it. */
const GATEWAY_FIELD = 'grpcgateway-accept';

/** What a caller shows of himself. Certificates count where every client must have one. */
export function credentialsOf(caller: Caller, clientCertAuth: boolean): Credentials {
  const token = tokenIn(caller.metadata);
  const certificateCounts = clientCertAuth && token === undefined && !has(caller.metadata, GATEWAY_FIELD);
  return { token, commonName: certificateCounts ? commonNameOf(caller.getAuthContext()) : undefined };
}

function tokenIn(metadata: Metadata): string | undefined {
  for (const field of TOKEN_FIELDS) {
    const value = metadata.get(field)[0]?.toString();
    if (value !== undefined) return value.startsWith(BEARER) ? value.slice(BEARER.length) : value;
  }
  return undefined;
}

function has(metadata: Metadata, field: string): boolean {
  return metadata.get(field).length > 0;
}

/** A name without a common name has an empty one, as in Go. */
function commonNameOf({ sslPeerCertificate }: ReturnType<Caller['getAuthContext']>): string | undefined {
  return sslPeerCertificate && (lastCommonName(sslPeerCertificate.subject) ?? '');
}
