import { AUTH_ENABLED, AUTH_PREFIX, AUTH_USERS, type AuthInfo, AuthState } from '../../shared/auth/state.ts';
import { compareBytes, NO_BYTES } from '../../shared/base/bytes.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { SystemChange } from '../../shared/model/record.ts';
import type { Passwords } from './passwords.ts';
import type { TokenProvider } from './tokens.ts';

/** What a caller shows of himself. */
export interface Credentials {
  readonly token: string | undefined;
  /** Of the certificate that was verified; undefined where none is asked for. */
  readonly commonName: string | undefined;
}

export interface AuthStoreParts {
  tokens: TokenProvider;
  passwords: Passwords;
  /** Tells every durable entry now, and every durable change from now on. */
  follow(prefix: string, changed: (change: SystemChange) => void): void;
}

/** Users and roles as far as they are durable, and the tokens that stand for users: who is calling. */
export class AuthStore {
  readonly state = new AuthState();
  readonly passwords: Passwords;
  readonly #tokens: TokenProvider;

  constructor({ tokens, passwords, follow }: AuthStoreParts) {
    this.#tokens = tokens;
    this.passwords = passwords;
    follow(AUTH_PREFIX, (change) => this.#take(change));
  }

  get enabled(): boolean {
    return this.state.enabled;
  }

  /**
   * Tells who shows these credentials: undefined for nobody, and for everybody while auth is disabled. A token goes
   * before a certificate. Fails with etcd's error for a token that is not valid.
   */
  identify(
    credentials: Credentials,
    done: (error: Error | undefined, info: AuthInfo | undefined) => void,
  ): void {
    const { revision, enabled } = this.state;
    const { token, commonName } = credentials;
    if (!enabled) done(undefined, undefined);
    else if (token !== undefined) {
      this.#tokens.info(token, revision, (info) =>
        done(info === undefined ? new EtcdError('InvalidAuthToken') : undefined, info),
      );
    } else done(undefined, commonName === undefined ? undefined : { username: commonName, revision });
  }

  /** A token for a user who shows his password. Rejects with etcd's error. */
  async authenticate(username: string, password: string): Promise<string> {
    for (;;) {
      if (!this.state.enabled) throw new EtcdError('AuthNotEnabled');
      const user = this.state.users.get(username);
      if (user === undefined) throw new EtcdError('AuthFailed');
      if (user.options?.noPassword) throw new EtcdError('NoPasswordUser');
      const { revision } = this.state;
      if (!(await this.passwords.matches(password, user.password))) throw new EtcdError('AuthFailed');
      // Else the password may be another one by now: it is compared again.
      if (revision === this.state.revision) return this.#tokens.assign(username, revision);
    }
  }

  #take(change: SystemChange): void {
    const { name, value } = change;
    const before = name.startsWith(AUTH_USERS) ? this.#passwordOf(name) : NO_BYTES;
    this.state.change(change);
    if (name === AUTH_ENABLED && value?.[0] !== 1) this.#tokens.disable();
    if (!name.startsWith(AUTH_USERS)) return;
    const sameUser = value !== undefined && compareBytes(before, this.#passwordOf(name)) === 0;
    if (!sameUser) this.#tokens.invalidateUser(name.slice(AUTH_USERS.length));
  }

  #passwordOf(name: string): Uint8Array {
    return this.state.users.get(name.slice(AUTH_USERS.length))?.password ?? NO_BYTES;
  }
}
