import { CallError } from '../grpc/connection.ts';
import type { Target } from './generator.ts';
import { type KeySpace, type KnownKey, prefixEnd } from './key-space.ts';
import { type KeyValue, method, type RangeAnswer, range, readRangeAnswer } from './messages.ts';

/** What reading everything back has shown. All but the first three must be 0. */
export interface Verification {
  /** Keys with at least one acknowledged write and none of unknown fate. */
  readonly acknowledged: number;
  /** Keys with a write whose answer never came or was an error; only their presence is counted. */
  readonly unknown: number;
  readonly found: number;
  readonly missing: number;
  readonly wrongRevision: number;
  readonly wrongValue: number;
  /** Keys under our prefix that nobody wrote, or that came twice. */
  readonly unexpected: number;
  /** Two keys with one revision, though each write was its own transaction. */
  readonly sharedRevision: number;
  /** `count_only` minus the keys that the pages held. */
  readonly countDifference: number;
}

/** True when every acknowledged write was read back as it was acknowledged. */
export function isWhole(verification: Verification): boolean {
  const { missing, wrongRevision, wrongValue, unexpected, sharedRevision, countDifference } = verification;
  return missing + wrongRevision + wrongValue + unexpected + sharedRevision === 0 && countDifference === 0;
}

const pageLimit = 500;

/** Lists every key of `space` in pages and compares what is there with what was acknowledged. */
export async function verifyKeySpace(target: Target, space: KeySpace): Promise<Verification> {
  const start = Buffer.from(space.prefix, 'latin1');
  const end = prefixEnd(space.prefix);
  const check = new ReadBack(space);
  let from: Uint8Array = start;
  for (let more = true; more; ) {
    const page = await ask(target, range(from, end, pageLimit));
    for (const keyValue of page.keyValues) check.see(keyValue);
    const last = page.keyValues.at(-1);
    more = page.more && last !== undefined;
    if (last) from = Buffer.concat([last.key, Buffer.of(0)]);
  }
  const { count } = await ask(target, range(start, end, 0, true));
  return check.result(count);
}

class ReadBack {
  private readonly space: KeySpace;
  private readonly unseen: Map<string, KnownKey>;
  private readonly revisions = new Set<number>();
  private found = 0;
  private wrongRevision = 0;
  private wrongValue = 0;
  private unexpected = 0;
  private sharedRevision = 0;

  constructor(space: KeySpace) {
    this.space = space;
    this.unseen = new Map(space.keys.map((known) => [known.key.toString('latin1'), known]));
  }

  see(keyValue: KeyValue): void {
    this.found++;
    const name = Buffer.from(keyValue.key).toString('latin1');
    const known = this.unseen.get(name);
    if (!known) {
      this.unexpected++;
      return;
    }
    this.unseen.delete(name);
    if (this.revisions.has(keyValue.modRevision)) this.sharedRevision++;
    this.revisions.add(keyValue.modRevision);
    if (known.unknown) return;
    if (keyValue.modRevision !== known.modRevision) this.wrongRevision++;
    else if (!this.space.value(known, known.valueAt).equals(keyValue.value)) this.wrongValue++;
  }

  result(count: number): Verification {
    const acknowledged = this.space.keys.filter((known) => known.modRevision > 0 && !known.unknown);
    // A write of unknown fate may have failed, but a write acknowledged before it can't be gone.
    const missing = [...this.unseen.values()].filter((known) => known.modRevision > 0);
    return {
      acknowledged: acknowledged.length,
      unknown: this.space.keys.filter((known) => known.unknown).length,
      found: this.found,
      missing: missing.length,
      wrongRevision: this.wrongRevision,
      wrongValue: this.wrongValue,
      unexpected: this.unexpected,
      sharedRevision: this.sharedRevision,
      countDifference: count - this.found,
    };
  }
}

function ask(target: Target, message: Uint8Array): Promise<RangeAnswer> {
  return new Promise((resolve, reject) => {
    target.unary(method.range, message, (error, answer) => {
      if (error) reject(new CallError(error.code, `reading back: ${error.message}`));
      else resolve(readRangeAnswer(answer));
    });
  });
}
