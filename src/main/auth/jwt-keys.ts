import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errorMessage } from '../../shared/base/errors.ts';

/** What `--auth-token=jwt,…` says. */
export interface JwtSettings {
  /** A signature algorithm of RFC 7518 or RFC 8037, such as `RS256`. */
  readonly signMethod: JwtAlgorithm;
  readonly publicKeyFile: string | undefined;
  readonly privateKeyFile: string | undefined;
  readonly ttlMs: number;
}

/** etcd's, without `none`. */
export const JWT_ALGORITHMS = [
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
  ...(['ES256', 'ES384', 'ES512', 'EdDSA', 'HS256', 'HS384', 'HS512'] as const),
];
type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

/** Loaded keys. */
export interface JwtKeys {
  readonly algorithm: JwtAlgorithm;
  /** Undefined: this server can verify tokens and not make them. */
  readonly sign: KeyObject | Uint8Array | undefined;
  readonly verify: KeyObject | Uint8Array;
}

const KEY_TYPES: Readonly<Record<string, readonly string[]>> = {
  RS: ['rsa'],
  PS: ['rsa', 'rsa-pss'],
  ES: ['ec'],
  Ed: ['ed25519'],
};
/** By algorithm: the curve that its name stands for. */
const CURVES: Readonly<Record<string, string>> = {
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
};

/** Reads and checks the keys. Throws an `Error` whose message is one line that says what to change. */
export function readJwtKeys(settings: JwtSettings): JwtKeys {
  const { signMethod: algorithm, publicKeyFile, privateKeyFile } = settings;
  if (algorithm.startsWith('HS')) {
    const secret = privateKeyFile === undefined ? undefined : new Uint8Array(contentOf(privateKeyFile));
    if (secret === undefined || secret.length === 0) {
      throw new Error(`--auth-token: ${algorithm} needs priv-key, a file with the secret`);
    }
    return { algorithm, sign: secret, verify: secret };
  }
  const sign = privateKeyFile === undefined ? undefined : keyIn(privateKeyFile, algorithm, createPrivateKey);
  const given = publicKeyFile === undefined ? undefined : keyIn(publicKeyFile, algorithm, createPublicKey);
  const verify = given ?? (sign && createPublicKey(sign));
  if (verify === undefined) throw new Error(`--auth-token: ${algorithm} needs priv-key or pub-key`);
  if (sign !== undefined && !createPublicKey(sign).equals(verify)) {
    throw new Error('--auth-token: pub-key and priv-key are not of one pair');
  }
  return { algorithm, sign, verify };
}

function keyIn(path: string, algorithm: JwtAlgorithm, parse: (pem: Buffer) => KeyObject): KeyObject {
  const key = parsed(path, parse);
  const fits = KEY_TYPES[algorithm.slice(0, 2)]?.includes(key.asymmetricKeyType ?? '') ?? false;
  const curve = CURVES[algorithm];
  if (!fits || (curve !== undefined && key.asymmetricKeyDetails?.namedCurve !== curve)) {
    throw new Error(`--auth-token: ${path} is not a key for ${algorithm}`);
  }
  return key;
}

function parsed(path: string, parse: (pem: Buffer) => KeyObject): KeyObject {
  const content = contentOf(path);
  try {
    return parse(content);
  } catch {
    // The reason is left out: it may quote the file.
    throw new Error(`--auth-token: ${path} is not a key in PEM form`);
  }
}

function contentOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`--auth-token: can't be read: ${errorMessage(error)}`);
  }
}
