import type { AuthInfo } from '../../shared/auth/state.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Random } from '../../shared/base/random.ts';
import type { TokenProvider } from './tokens.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const PREFIX_LETTERS = 16;
/** A byte from here on would make the first letters likelier than the others. */
const BYTE_LIMIT = 256 - (256 % LETTERS.length);
/** More tokens than this are not kept: whoever has not used his for longest must show his password again. */
const TOKENS_MAX = 100_000;

interface Entry {
  username: string;
  /** On the monotonic clock. */
  expiresAtMs: number;
}

export interface SimpleTokenParts {
  clock: Clock;
  random: Random;
  /** How long an unused token is kept; each use begins it anew. */
  ttlMs: number;
  /** The second part of a new token; etcd writes how far its log was. */
  index(): number;
}

/** etcd's simple tokens: random letters, known to this process alone and gone with it. */
export class SimpleTokens implements TokenProvider {
  readonly #parts: SimpleTokenParts;
  /** The one that expires first in front: a token that is used goes to the end. */
  readonly #entries = new Map<string, Entry>();

  constructor(parts: SimpleTokenParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#entries.size;
  }

  info(token: string, revision: number, done: (info: AuthInfo | undefined) => void): void {
    const entry = this.#entries.get(token);
    if (entry === undefined || entry.expiresAtMs <= this.#parts.clock.monotonicMs()) {
      this.#entries.delete(token);
      done(undefined);
      return;
    }
    this.#keep(token, entry.username);
    done({ username: entry.username, revision });
  }

  async assign(username: string): Promise<string> {
    const token = `${this.#prefix()}.${this.#parts.index()}`;
    this.#dropExpired();
    this.#keep(token, username);
    return token;
  }

  invalidateUser(username: string): void {
    for (const [token, entry] of this.#entries) if (entry.username === username) this.#entries.delete(token);
  }

  disable(): void {
    this.#entries.clear();
  }

  #keep(token: string, username: string): void {
    this.#entries.delete(token);
    this.#entries.set(token, {
      username,
      expiresAtMs: this.#parts.clock.monotonicMs() + this.#parts.ttlMs,
    });
  }

  #dropExpired(): void {
    const now = this.#parts.clock.monotonicMs();
    for (const [token, { expiresAtMs }] of this.#entries) {
      if (expiresAtMs > now && this.#entries.size < TOKENS_MAX) return;
      this.#entries.delete(token);
    }
  }

  #prefix(): string {
    let letters = '';
    while (letters.length < PREFIX_LETTERS) {
      for (const byte of this.#parts.random.bytes(PREFIX_LETTERS)) {
        if (byte < BYTE_LIMIT && letters.length < PREFIX_LETTERS) letters += LETTERS[byte % LETTERS.length];
      }
    }
    return letters;
  }
}
