import { asBuffer } from '../../shared/base/bytes.ts';
import type { Random } from '../../shared/base/random.ts';
import { StoreError } from './errors.ts';
import type { ObjectStore } from './store.ts';

const WHY_CONDITIONAL =
  "netsy refuses it, because two servers could then overwrite each other's acknowledged writes; AWS S3, MinIO, Ceph and versitygw honour it in recent versions";

/** Which permission of S3's each step needs. */
type Step = readonly [what: string, permission: string];
const CREATE: Step = ['create an object', 's3:PutObject'];
const READ: Step = ['read an object', 's3:GetObject'];
const LIST: Step = ['list objects', 's3:ListBucket'];
const DELETE: Step = ['delete an object', 's3:DeleteObject'];

/**
 * Proves that the store is there, that it may be written, read, listed and deleted from, and that it honours
 * conditional creates. Uses names under `probe/` and deletes them. Rejects with a `StoreError` whose one line
 * says what is wrong and what to change.
 */
export async function probeStore(store: ObjectStore, random: Random): Promise<void> {
  const name = `probe/${Buffer.from(random.bytes(12)).toString('hex')}`;
  const [first, second] = [`${name}-1`, `${name}-2`];
  let failure: unknown;
  try {
    await proveCreateOnce(store, first, random);
    await proveOneWinner(store, second, random);
    await proveList(store, name, [first, second]);
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

async function proveCreateOnce(store: ObjectStore, key: string, random: Random): Promise<void> {
  const mine = random.bytes(32);
  const answer = await step(store, CREATE, () => store.putIfAbsent(key, mine));
  if (answer !== 'created') throw refusal(store, "it answers 'exists' for a name that no object has");
  const again = await step(store, CREATE, () => store.putIfAbsent(key, random.bytes(32)));
  if (again !== 'exists') throw refusal(store, `it ignores 'If-None-Match: *': ${WHY_CONDITIONAL}`);
  await proveHolds(store, key, mine);
}

async function proveOneWinner(store: ObjectStore, key: string, random: Random): Promise<void> {
  const bodies = [random.bytes(32), random.bytes(32)];
  const answers = await Promise.all(
    bodies.map((body) => step(store, CREATE, () => createSettled(store, key, body))),
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

/** S3 may answer 409 to one of two creates at once; asked again it says which was first. */
async function createSettled(
  store: ObjectStore,
  key: string,
  body: Uint8Array,
): Promise<'created' | 'exists'> {
  try {
    return await store.putIfAbsent(key, body);
  } catch (error) {
    if (!(error instanceof StoreError && error.status === 409)) throw error;
    return store.putIfAbsent(key, body);
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
    const { kind, status, code } = error;
    const advice = adviceFor(error, permission);
    throw new StoreError(
      kind,
      `the store ${store.url} does not let netsy ${what}: ${error.message}${advice}`,
      {
        status,
        code,
        cause: error,
      },
    );
  }
}

function adviceFor(error: StoreError, permission: string): string {
  if (error.status === undefined) return '';
  if (error.kind === 'no-bucket') return '; create the bucket, or correct --store';
  if (error.kind !== 'denied') return '';
  if (error.code === 'AccessDenied') return `; allow ${permission} on it to these credentials`;
  return `; check the credentials, the region, and that ${permission} is allowed`;
}
