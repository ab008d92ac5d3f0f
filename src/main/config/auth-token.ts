import { JWT_ALGORITHMS, type JwtSettings } from '../auth/jwt-keys.ts';
import type { AuthTokenSettings } from '../auth/open-tokens.ts';
import { DURATION_MS_MAX, duration, ValueError } from './values.ts';

const JWT_OPTIONS = ['pub-key', 'priv-key', 'sign-method', 'ttl'] as const;
type JwtOption = (typeof JWT_OPTIONS)[number];
/** etcd's, for tokens of a server that does not say. */
const JWT_TTL = '5m';

/** etcd's `--auth-token`: `simple`, `jwt,OPTION=VALUE,…`, or nothing for no tokens at all. */
export function authToken(text: string): AuthTokenSettings {
  const [kind, ...options] = text.split(',');
  if (kind === 'jwt') return { kind, ...jwtSettings(optionsIn(options)) };
  if (options.length > 0) throw new ValueError(`"${text}": only jwt has options`);
  if (kind === 'simple') return { kind };
  if (kind === '') return { kind: 'none' };
  throw new ValueError(`"${kind}" is not known; use simple or jwt,sign-method=…,priv-key=…,pub-key=…,ttl=…`);
}

function optionsIn(options: readonly string[]): ReadonlyMap<JwtOption, string> {
  const found = new Map<JwtOption, string>();
  for (const option of options) {
    const [name, value, ...more] = option.split('=');
    const known = JWT_OPTIONS.find((candidate) => candidate === name);
    if (known === undefined || value === undefined || more.length > 0) {
      throw new ValueError(
        `"${option}" is no option; use ${JWT_OPTIONS.map((one) => `${one}=…`).join(', ')}`,
      );
    }
    if (found.has(known)) throw new ValueError(`${known} is given twice`);
    found.set(known, value);
  }
  return found;
}

function jwtSettings(options: ReadonlyMap<JwtOption, string>): JwtSettings {
  const method = options.get('sign-method');
  const signMethod = JWT_ALGORITHMS.find((algorithm) => algorithm === method);
  if (signMethod === undefined) {
    throw new ValueError(`jwt needs sign-method=, one of ${JWT_ALGORITHMS.join(', ')}`);
  }
  return {
    signMethod,
    publicKeyFile: options.get('pub-key') || undefined,
    privateKeyFile: options.get('priv-key') || undefined,
    ttlMs: duration(1, DURATION_MS_MAX)(options.get('ttl') || JWT_TTL),
  };
}
