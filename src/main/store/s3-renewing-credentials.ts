import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { StoreError } from './errors.ts';
import type { CredentialProvider, Credentials } from './s3-credentials.ts';
import type { StoreTime } from './s3-time.ts';

/**
 * Credentials that are renewed while the old ones are still good, so that no request waits for it:
 *
 * 1. A request takes what is held. Only one that finds nothing, or what is expired, waits for a renewal.
 * 2. A renewal begins when a quarter of an hour is left, or half of the life of short-lived ones. (An instance's
 *    next credentials are there at least five minutes before the old ones end.) One that fails, or brings the same
 *    again, is repeated ever sooner.
 * 3. A source that does not answer is asked anew while there is time, and what the earlier question still brings is taken.
 * 4. Ones that the source has just given are good, whatever our clock makes of their expiry.
 * 5. When the store refuses what is held as expired or unknown, it is renewed at once, and the request is sent again.
 */
const AHEAD_MS_MAX = 15 * 60_000;
/** Renewals are not sooner than this after one another, whatever happens. */
const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 60_000;
/** How long ones without an expiry are believed: those of a file may be replaced at any time. */
const BELIEVED_MS = 60_000;

/** How long the source may take before it is asked again besides: a part of what is left, within these. */
const PATIENCE_OF_LEFT = 1 / 4;
const PATIENCE_MS_MIN = 1_000;
const PATIENCE_MS_MAX = 5_000;

/** What a source gives. */
export interface FetchedCredentials {
  readonly credentials: Credentials;
  /** In milliseconds since the Unix epoch; undefined: they don't expire by themselves. */
  readonly expiresMs: number | undefined;
}

interface Held {
  readonly credentials: Credentials;
  /** By the monotonic clock. */
  readonly expiresAt: number;
}

export interface RenewingOptions {
  /** Rejects, in bounded time, with a `StoreError`. */
  readonly fetch: () => Promise<FetchedCredentials>;
  readonly clock: Clock;
  readonly time: StoreTime;
  readonly log: Log;
}

export class RenewingCredentials implements CredentialProvider {
  readonly #options: RenewingOptions;
  #held: Held | undefined;
  /** By the monotonic clock. */
  #renewAt = 0;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #renewal: Promise<void> | undefined;
  #failure: unknown;

  constructor(options: RenewingOptions) {
    this.#options = options;
  }

  async get(): Promise<Credentials> {
    const now = this.#options.clock.monotonicMs();
    if (now >= this.#renewAt) this.#startRenewal();
    if (this.#held !== undefined && now < this.#held.expiresAt) return this.#held.credentials;
    await this.#renewal;
    if (this.#held === undefined || this.#failure !== undefined) throw this.#failureToTell();
    return this.#held.credentials;
  }

  async renew(refused: Credentials): Promise<boolean> {
    if (this.#held !== undefined && !isSame(this.#held.credentials, refused)) return true;
    if (this.#options.clock.monotonicMs() >= this.#renewedAt + AGAIN_MS_MIN) this.#startRenewal();
    await this.#renewal;
    return this.#held !== undefined && !isSame(this.#held.credentials, refused);
  }

  #startRenewal(): void {
    this.#renewal ??= this.#renewOnce().finally(() => {
      this.#renewal = undefined;
    });
  }

  /** Never rejects. */
  async #renewOnce(): Promise<void> {
    const { clock, log } = this.#options;
    try {
      this.#hold(await this.#fetchInTime());
      if (this.#failure !== undefined) log.info('S3 credentials can be renewed again');
      this.#failure = undefined;
    } catch (error) {
      const left = this.#held === undefined ? 0 : this.#held.expiresAt - clock.monotonicMs();
      this.#renewAt = clock.monotonicMs() + between(AGAIN_MS_MIN, left / 4, AGAIN_MS_MAX);
      if (this.#held !== undefined && this.#failure === undefined) {
        log.warn('S3 credentials can not be renewed', { error: errorMessage(error), goodForMs: left });
      }
      this.#failure = error;
    }
    this.#renewedAt = clock.monotonicMs();
  }

  /**
   * What the source gives, unless that takes long: then it is taken when it comes, and the source is asked again before.
   * The first time nothing is lost by waiting, and a `credential_process` may ask a person.
   */
  #fetchInTime(): Promise<FetchedCredentials> {
    const { clock, fetch } = this.#options;
    const fetched = fetch();
    if (this.#held === undefined) return fetched;
    const left = this.#held.expiresAt - clock.monotonicMs();
    const patienceMs = between(PATIENCE_MS_MIN, left * PATIENCE_OF_LEFT, PATIENCE_MS_MAX);
    return new Promise((resolve, reject) => {
      const timer = clock.after(patienceMs, () => {
        fetched.then((late) => this.#holdLate(late)).catch(() => undefined);
        const message = `no S3 credentials: their source takes longer than ${Math.round(patienceMs)} ms`;
        reject(new StoreError('transient', message));
      });
      fetched.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  #holdLate(fetched: FetchedCredentials): void {
    const { clock, time } = this.#options;
    const expiresMs = fetched.expiresMs ?? Number.POSITIVE_INFINITY;
    const heldUntilMs =
      this.#held === undefined ? 0 : time.nowMs() + this.#held.expiresAt - clock.monotonicMs();
    if (expiresMs <= heldUntilMs) return;
    this.#hold(fetched);
    this.#failure = undefined;
  }

  #hold({ credentials, expiresMs }: FetchedCredentials): void {
    const { clock, time, log } = this.#options;
    const now = clock.monotonicMs();
    const isNew = this.#held === undefined || !isSame(this.#held.credentials, credentials);
    const left = expiresMs === undefined ? Number.POSITIVE_INFINITY : expiresMs - time.nowMs();
    const life = left > 0 ? left : BELIEVED_MS;
    this.#held = { credentials, expiresAt: now + life };
    this.#renewAt = now + renewAfterMs(life);
    if (isNew) log.debug('S3 credentials were obtained', { id: credentials.accessKeyId, goodForMs: life });
  }

  /** Without credentials from the start nothing helps but an operator; later a renewal may yet succeed. */
  #failureToTell(): unknown {
    const failure = this.#failure;
    if (this.#held === undefined || !(failure instanceof StoreError)) return failure;
    const message = `the S3 credentials have expired, and can not be renewed: ${failure.message}`;
    return new StoreError('transient', message, { cause: failure });
  }
}

function renewAfterMs(lifeMs: number): number {
  if (lifeMs === Number.POSITIVE_INFINITY) return BELIEVED_MS;
  return Math.max(AGAIN_MS_MIN, lifeMs - Math.min(AHEAD_MS_MAX, lifeMs / 2));
}

function between(min: number, value: number, max: number): number {
  return Math.max(min, Math.min(value, max));
}

function isSame(one: Credentials, other: Credentials): boolean {
  return (
    one.accessKeyId === other.accessKeyId &&
    one.secretAccessKey === other.secretAccessKey &&
    one.sessionToken === other.sessionToken
  );
}
