import bcrypt from 'bcrypt';
import { asBuffer } from '../../shared/base/bytes.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';

/** bcrypt looks at no more; etcd refuses longer passwords when they are set, and cuts them when they are shown. */
const PASSWORD_BYTES_MAX = 72;
/**
 * Hashes at a time, of libuv's four threads: the others are for files and names. Whoever comes while so many wait is
 * refused, since each takes about 100 ms at the default cost.
 */
const RUNNING_MAX = 2;
const WAITING_MAX = 1000;

/** Hashes passwords and compares them with hashes, on libuv's threads. Forgets every password at once. */
export class Passwords {
  readonly #cost: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `cost` is bcrypt's: each step more doubles the time. */
  constructor(cost: number) {
    this.#cost = cost;
  }

  /** Throws etcd's error if a password can't be set. */
  static check(password: string): void {
    if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) throw new EtcdError('PasswordTooLong');
  }

  /** A new hash of a password that passed `check`. Rejects with etcd's error when too many wait. */
  async hash(password: string): Promise<string> {
    return this.#inTurn(() => bcrypt.hash(Buffer.from(password), this.#cost));
  }

  /** Whether the password is the one that was hashed; nothing matches what is no hash. */
  async matches(password: string, hash: Uint8Array): Promise<boolean> {
    const given = Buffer.from(password).subarray(0, PASSWORD_BYTES_MAX);
    return this.#inTurn(() => bcrypt.compare(given, asBuffer(hash).toString('latin1')));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= RUNNING_MAX) {
      if (this.#waiting.length >= WAITING_MAX) throw new EtcdError('RequestTooManyRequests');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
