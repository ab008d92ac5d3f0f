import type { AuthInfo } from '../../shared/auth/state.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { JwtKeys } from './jwt-keys.ts';
import type { TokenProvider } from './tokens.ts';

/** Tokens that were verified are known again without verifying; so many at most. */
const KNOWN_MAX = 10_000;

interface Known {
  info: AuthInfo;
  /** On the wall clock, as `exp` is; undefined for a token without. */
  expiresAtMs: number | undefined;
}

/**
 * etcd's JSON Web Tokens: signed, with the user's name, the auth store's revision and an end. A change of the store
 * makes them old (`revision of auth store is old`), which the checks find by the revision; nothing is kept of them.
 */
export class JwtTokens implements TokenProvider {
  readonly #keys: JwtKeys;
  readonly #ttlMs: number;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(keys: JwtKeys, ttlMs: number, clock: Clock) {
    this.#keys = keys;
    this.#ttlMs = ttlMs;
    this.#clock = clock;
  }

  info(token: string, _revision: number, done: (info: AuthInfo | undefined) => void): void {
    const known = this.#known.get(token);
    if (known === undefined) {
      void this.#verify(token).then(done);
      return;
    }
    const expired = known.expiresAtMs !== undefined && known.expiresAtMs <= this.#clock.wallMs();
    if (expired) this.#known.delete(token);
    done(expired ? undefined : known.info);
  }

  async assign(username: string, revision: number): Promise<string> {
    const { algorithm, sign } = this.#keys;
    if (sign === undefined) throw new EtcdError('VerifyOnly');
    const { SignJWT } = await jose();
    return new SignJWT({ username, revision })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
      .setExpirationTime(Math.floor((this.#clock.wallMs() + this.#ttlMs) / 1000))
      .sign(sign);
  }

  /** Nothing of a user's tokens is kept here; the revision makes them old. */
  invalidateUser(): void {}

  disable(): void {
    this.#known.clear();
  }

  async #verify(token: string): Promise<AuthInfo | undefined> {
    const { algorithm, verify } = this.#keys;
    try {
      const { jwtVerify } = await jose();
      const { payload } = await jwtVerify(token, verify, {
        algorithms: [algorithm],
        currentDate: new Date(this.#clock.wallMs()),
      });
      const { username, revision, exp } = payload;
      if (typeof username !== 'string' || typeof revision !== 'number') return undefined;
      const info = { username, revision: Math.trunc(revision) };
      this.#remember(token, { info, expiresAtMs: exp === undefined ? undefined : exp * 1000 });
      return info;
    } catch {
      // Whatever is wrong with it, etcd's answer is the same.
      return undefined;
    }
  }

  #remember(token: string, known: Known): void {
    this.#known.set(token, known);
    if (this.#known.size <= KNOWN_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }
}

/** Loaded by who has such tokens: a start without is sooner over. */
function jose(): Promise<typeof import('jose')> {
  return import('jose');
}
