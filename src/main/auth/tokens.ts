import type { AuthInfo } from '../../shared/auth/state.ts';

/** Makes tokens for users who have shown their password, and knows them again. */
export interface TokenProvider {
  /**
   * Says whom a token stands for, or undefined for one that is not valid; at once when that is known already.
   * `revision` is the auth store's.
   */
  info(token: string, revision: number, done: (info: AuthInfo | undefined) => void): void;
  /** A token for a user. Rejects with etcd's error where this server can't make one. */
  assign(username: string, revision: number): Promise<string>;
  /** The user is gone or has another password. */
  invalidateUser(username: string): void;
  /** Auth was disabled. */
  disable(): void;
}

/** For `--auth-token=""`: nobody can have a token. */
export function noTokens(refuse: () => Error): TokenProvider {
  return {
    info: (_token, _revision, done) => done(undefined),
    assign: () => Promise.reject(refuse()),
    invalidateUser: () => {},
    disable: () => {},
  };
}
