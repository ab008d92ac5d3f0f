import type { SecureContext } from 'node:tls';
import type { Clock } from '../../shared/base/clock.ts';
import { type Log, silentLog } from '../../shared/base/log.ts';
import { credentialChain, type Role } from './s3-credential-chain.ts';
import { RenewingCredentials } from './s3-renewing-credentials.ts';
import type { StoreTime } from './s3-time.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Where credentials come from. Asked before every request, so it answers from memory when it can. */
export interface CredentialProvider {
  /** Rejects with a `StoreError` when there are none: 'denied', or 'transient' when that may pass. */
  get(): Promise<Credentials>;
  /** To be told that the store refuses `refused`; whether there are others now. Never rejects. */
  renew(refused: Credentials): Promise<boolean>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface CredentialOptions {
  readonly environment: Environment;
  readonly clock: Clock;
  readonly time: StoreTime;
  /** For the token service, where the environment names none. */
  readonly region: string;
  /** To be taken on with the credentials that are found. */
  readonly role?: Role | undefined;
  /** Authorities of the token service's, beside those that Node brings. */
  readonly trust?: SecureContext | undefined;
  readonly log?: Log | undefined;
}

/**
 * The environment's keys when it has any, else what AWS's own chain finds: profile, web identity, container,
 * instance. They are renewed ahead of their expiry.
 */
export function defaultCredentials(options: CredentialOptions): CredentialProvider {
  const fixed = environmentCredentials(options.environment);
  if (fixed !== undefined && options.role === undefined) {
    return { get: () => Promise.resolve(fixed), renew: () => Promise.resolve(false) };
  }
  const { clock, time, log = silentLog } = options;
  return new RenewingCredentials({ fetch: credentialChain(options, fixed), clock, time, log });
}

function environmentCredentials(environment: Environment): Credentials | undefined {
  const accessKeyId = environment['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = environment['AWS_SECRET_ACCESS_KEY'];
  const sessionToken = environment['AWS_SESSION_TOKEN'];
  if (!accessKeyId || !secretAccessKey) return undefined;
  return sessionToken ? { accessKeyId, secretAccessKey, sessionToken } : { accessKeyId, secretAccessKey };
}
