import type { Clock } from '../../shared/base/clock.ts';
import type { Random } from '../../shared/base/random.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { type JwtKeys, type JwtSettings, readJwtKeys } from './jwt-keys.ts';
import { JwtTokens } from './jwt-tokens.ts';
import { SimpleTokens } from './simple-tokens.ts';
import { noTokens, type TokenProvider } from './tokens.ts';

/** What `--auth-token` says. */
export type AuthTokenSettings =
  | { readonly kind: 'simple' }
  | ({ readonly kind: 'jwt' } & JwtSettings)
  | { readonly kind: 'none' };

export interface TokenParts {
  clock: Clock;
  random: Random;
  simpleTtlMs: number;
  /** How far the log is. */
  index(): number;
}

/** Makes the provider of tokens that the settings ask for, with the keys that `readTokenKeys` gave. */
export function openTokens(
  { kind }: AuthTokenSettings,
  jwt: { keys: JwtKeys; ttlMs: number } | undefined,
  parts: TokenParts,
): TokenProvider {
  if (jwt !== undefined) return new JwtTokens(jwt.keys, jwt.ttlMs, parts.clock);
  if (kind === 'simple') return new SimpleTokens({ ...parts, ttlMs: parts.simpleTtlMs });
  return noTokens(() => new EtcdError('AuthFailed'));
}

/** The keys that the settings name, if any. Throws an `Error` that says what to change. */
export function readTokenKeys(settings: AuthTokenSettings): { keys: JwtKeys; ttlMs: number } | undefined {
  return settings.kind === 'jwt' ? { keys: readJwtKeys(settings), ttlMs: settings.ttlMs } : undefined;
}
