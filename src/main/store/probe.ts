import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Random } from '../../shared/base/random.ts';
import { StoreError } from './errors.ts';
import { type RetryOptions, retryingStore, retryTransient } from './retry.ts';
import type { ObjectStore } from './store.ts';

const WHY_CONDITIONAL =
  "netsy refuses it, because two servers could then overwrite each other's acknowledged writes; docs/s3.md lists stores that honour it, among them AWS S3, R2, MinIO, Ceph and versitygw in recent versions";
const IGNORES =
  "it ignores 'If-None-Match: *', as Google Cloud Storage does when it is not spoken to with --s3-dialect gcs, and Oracle's S3 interface";
const LACKS = "it does not implement 'If-None-Match: *' for writes, as Backblaze B2 and Garage do not";

/** How often one of two creates at once is asked again, and how long between, in milliseconds. */
const RACE_TRIES = 5;
const RACE_WAIT_MS = 400;

/**
 * How long a step is tried again whose outcome can't be in doubt, before all begins anew: a store that refuses a third of its
 * requests would else seldom grant all of a probe's in a row.
 */
const STEP_RETRY_MS = 2_000;

/** Which permission of S3's each step needs. */
type Step = readonly [what: string, permission: string];
const CREATE: Step = ['create an object', 's3:PutObject'];
const READ: Step = ['read an object', 's3:GetObject'];
const LIST: Step = ['list objects', 's3:ListBucket'];
const READ_NOTHING: Step = [
  'learn that an object does not exist',
  's3:ListBucket, without a condition that a read fails,',
];
const DELETE: Step = ['delete an object', 's3:DeleteObject'];

/** How long a store that does not answer is tried. */
export interface ProbeRetry {
  readonly clock: Clock;
  readonly retryForMs: number;
  readonly log: Log;
}

/**
 * Proves that the store is there, that it may be written, read, listed and deleted from, and that it honours
 * conditional creates. Uses names under `probe/` and deletes them. Rejects with a `StoreError` whose one line
 * says what is wrong and what to change. With `retry`, what may pass is tried again: a create from the beginning, with new
 * names, since what became of it is not known, all else for itself first.
 */
export async function probeStore(store: ObjectStore, random: Random, retry?: ProbeRetry): Promise<void> {
  if (retry === undefined) return probeOnce(store, random, retry);
  const { clock, retryForMs, log } = retry;
  const stepRetry = { clock, random, retryForMs: Math.min(retryForMs, STEP_RETRY_MS) };
  const patient = retryingStore(store, stepRetry);
  let failures = 0;
  await retryTransient({ clock, random, retryForMs }, undefined, async () => {
    try {
      await probeOnce(patient, random, stepRetry);
    } catch (error) {
      if (error instanceof StoreError && error.kind === 'transient' && failures++ === 0) {
        log.warn('the store does not answer yet', { error: error.message, triedForMs: retryForMs });
      }
      throw error;
    }
  });
}

async function probeOnce(store: ObjectStore, random: Random, retry: RetryOptions | undefined): Promise<void> {
  const name = `probe/${Buffer.from(random.bytes(12)).toString('hex')}`;
  const [first, second] = [`${name}-1`, `${name}-2`];
  let failure: unknown;
  try {
    await proveCreateOnce(store, first, random, retry);
    await proveOneWinner(store, second, random, retry?.clock);
    await proveList(store, name, [first, second]);
    // Without the permission to list, S3 says 403 of an object that is not there.
    const absent = await step(store, READ_NOTHING, () => store.get(`${name}-3`));
    if (absent !== undefined)
      throw refusal(store, 'it has an object under a name that nothing was written to');
  } catch (error) {
    failure = error;
  }
  try {
    await Promise.all([first, second].map((key) => step(store, DELETE, () => store.delete(key))));
  } catch (error) {
    failure ??= error;
  }
  if (failure !== undefined) throw failure;
}

async function proveCreateOnce(
  store: ObjectStore,
  key: string,
  random: Random,
  retry: RetryOptions | undefined,
): Promise<void> {
  const mine = random.bytes(32);
  const answer = await step(store, CREATE, () => store.putIfAbsent(key, mine));
  if (answer !== 'created') throw refusal(store, "it answers 'exists' for a name that no object has");
  // Whatever becomes of it, another try must find what is there.
  const create = (): Promise<'created' | 'exists'> => store.putIfAbsent(key, random.bytes(32));
  const again = await step(store, CREATE, () =>
    retry === undefined ? create() : retryTransient(retry, undefined, create),
  );
  if (again !== 'exists') throw refusal(store, `${IGNORES}: ${WHY_CONDITIONAL}`);
  await proveHolds(store, key, mine);
}

async function proveOneWinner(
  store: ObjectStore,
  key: string,
  random: Random,
  clock: Clock | undefined,
): Promise<void> {
  const bodies = [random.bytes(32), random.bytes(32)];
  const answers = await Promise.all(
    bodies.map((body) => step(store, CREATE, () => createSettled(store, key, body, clock))),
  );
  const winners = bodies.filter((_, i) => answers[i] === 'created');
  const [winner] = winners;
  if (winner === undefined || winners.length !== 1) {
    throw refusal(
      store,
      `of two creates of one name at once, ${winners.length} succeeded instead of exactly one: ${WHY_CONDITIONAL}`,
    );
  }
  await proveHolds(store, key, winner);
}

/**
 * S3 may answer 409 to one of two creates at once, and Google's, which takes about one write a second to a name, 429.
 * Asked again they say which was first.
 */
async function createSettled(
  store: ObjectStore,
  key: string,
  body: Uint8Array,
  clock: Clock | undefined,
): Promise<'created' | 'exists'> {
  for (let tries = 1; ; tries++) {
    try {
      return await store.putIfAbsent(key, body);
    } catch (error) {
      const isUndecided = error instanceof StoreError && (error.status === 409 || error.status === 429);
      if (!isUndecided || tries === RACE_TRIES) throw error;
      await clock?.sleep(RACE_WAIT_MS * tries);
    }
  }
}

async function proveHolds(store: ObjectStore, key: string, body: Uint8Array): Promise<void> {
  const stored = await step(store, READ, () => store.get(key));
  if (stored === undefined) throw refusal(store, 'an object that it just created cannot be read back');
  if (!asBuffer(stored).equals(body))
    throw refusal(store, `an object is not what its creator wrote: ${WHY_CONDITIONAL}`);
}

async function proveList(store: ObjectStore, prefix: string, expected: readonly string[]): Promise<void> {
  const listed: string[] = [];
  await step(store, LIST, async () => {
    for await (const { key } of store.list(prefix)) listed.push(key);
  });
  if (listed.join() !== expected.join()) {
    throw refusal(
      store,
      'objects that were just created are missing from its list: netsy needs a consistent store',
    );
  }
}

function refusal(store: ObjectStore, why: string): StoreError {
  return new StoreError('unsupported', `the store ${store.url} cannot be used: ${why}`);
}

async function step<T>(store: ObjectStore, [what, permission]: Step, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { kind, status, code, retryAfterMs } = error;
    throw new StoreError(kind, messageFor(store, error, what, permission), {
      status,
      code,
      retryAfterMs,
      cause: error,
    });
  }
}

/** Says first what kind of trouble it is: only a refusal is about permissions. */
function messageFor(store: ObjectStore, error: StoreError, what: string, permission: string): string {
  if (error.kind === 'transient') return `the store ${store.url} is not there, or not well: ${error.message}`;
  if (error.kind === 'unsupported' && error.status !== undefined && permission === 's3:PutObject') {
    return `the store ${store.url} cannot be used: ${LACKS} (${error.message}): ${WHY_CONDITIONAL}`;
  }
  return `the store ${store.url} does not let netsy ${what}: ${error.message}${adviceFor(error, permission)}`;
}

function adviceFor(error: StoreError, permission: string): string {
  if (error.status === undefined) return '';
  if (error.kind === 'no-bucket') return '; create the bucket, or correct --store';
  if (error.kind !== 'denied') return '';
  if (error.code === 'AccessDenied') return `; allow ${permission} on it to these credentials`;
  return `; check the credentials, the region, and that ${permission} is allowed`;
}
