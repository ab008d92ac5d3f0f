import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Random } from '../../shared/base/random.ts';
import { probeStore } from '../store/probe.ts';
import type { ObjectStore } from '../store/store.ts';
import { type DoctorFinding, finding } from './doctor-finding.ts';

export interface DoctorStoreParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
}

const TRIES = 5;
/** About a small chunk's. */
const BODY_BYTES = 4096;
/** A write takes a PUT or two. */
const SLOW_PUT_MS = 250;
/** S3's times are whole seconds. */
const SKEW_WARN_MS = 5_000;
/** S3 refuses requests whose time differs from its own by more than 15 minutes. */
const SKEW_FAIL_MS = 14 * 60_000;

/** Tries the store: what a start tries, then how long a PUT and a GET take, and its clock. Never rejects. */
export async function examineStore(parts: DoctorStoreParts): Promise<DoctorFinding[]> {
  const { store, random } = parts;
  try {
    await probeStore(store, random);
  } catch (error) {
    return [finding('store', 'fail', errorMessage(error))];
  }
  const can = `${store.url} can be written, read, listed and deleted from, and honours conditional creates`;
  const findings = [finding('store', 'ok', can)];
  const keys: string[] = [];
  try {
    findings.push(...(await measure(parts, keys)));
  } catch (error) {
    findings.push(finding('store', 'warn', `its times could not be taken: ${errorMessage(error)}`));
  } finally {
    await Promise.all(keys.map((key) => store.delete(key).catch(() => {})));
  }
  return findings;
}

async function measure({ store, clock, random }: DoctorStoreParts, keys: string[]): Promise<DoctorFinding[]> {
  const name = `probe/${asBuffer(random.bytes(12)).toString('hex')}`;
  const putMs: number[] = [];
  const getMs: number[] = [];
  let halfwayMs = 0;
  for (let i = 0; i < TRIES; i++) {
    const key = `${name}-${i}`;
    keys.push(key);
    const begunMs = clock.monotonicMs();
    await store.putIfAbsent(key, random.bytes(BODY_BYTES));
    putMs.push(clock.monotonicMs() - begunMs);
    halfwayMs = clock.wallMs() - putMs[i]! / 2;
    const askedMs = clock.monotonicMs();
    await store.get(key);
    getMs.push(clock.monotonicMs() - askedMs);
  }
  const [put, get] = [median(putMs), median(getMs)];
  const times = `a conditional create takes ${ms(put)}, a read ${ms(get)} (medians of ${TRIES})`;
  const slow = put > SLOW_PUT_MS;
  const advice = '; each write waits for one: run the server nearer to the store';
  return [
    finding('store', slow ? 'warn' : 'ok', slow ? times + advice : times),
    ...(await examineClock(store, `${name}-${TRIES - 1}`, halfwayMs)),
  ];
}

/** Compares when the store says an object was made with when it was. */
async function examineClock(store: ObjectStore, key: string, madeMs: number): Promise<DoctorFinding[]> {
  let storeMs: number | undefined;
  for await (const object of store.list(key)) if (object.key === key) storeMs = object.modifiedMs;
  if (storeMs === undefined) return [];
  const skewMs = madeMs - storeMs;
  const far = Math.abs(skewMs);
  const how = `${Math.round(far / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} the store’s`;
  if (far <= SKEW_WARN_MS) return [finding('clock', 'ok', 'this machine’s clock agrees with the store’s')];
  const result = far > SKEW_FAIL_MS ? 'fail' : 'warn';
  return [
    finding('clock', result, `this machine’s clock is ${how}; set it by NTP, or requests will be refused`),
  ];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
