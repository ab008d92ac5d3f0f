import { seededFractions } from '../store/delay.ts';

/** What the keys and values of a load look like. */
export interface KeyShape {
  /** Every key starts with it. */
  readonly prefix: string;
  readonly seed: number;
  /** Bytes of every value. */
  readonly valueBytes: number;
  /** The keys are dealt out to so many prefixes of their own, `00000/`, `00001/` …; 1 leaves that part out. */
  readonly groups: number;
  /** The server answers anything (the echo): its answers are only counted. */
  readonly unchecked: boolean;
}

/** What the generator knows of one key. */
export interface KnownKey {
  readonly key: Buffer;
  /** From 0; which of the prefixes it is under. */
  readonly group: number;
  /** Of the newest acknowledged write; 0 when no write of it was acknowledged. */
  modRevision: number;
  /** Which value that write put: the pool's offset. */
  valueAt: number;
  /** A write whose fate is unknown; the key may hold the old or the new value, and is left alone. */
  unknown: boolean;
}

/** A value shorter than this has no room for the JSON around it and is base64 alone. */
const jsonBytesMin = 256;

/** The first byte string after all that start with `prefix`; `prefix` must not end with 0xff. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix, 'latin1');
  end[end.length - 1]! += 1;
  return end;
}

/**
 * The keys of one load process and what must be read back from them.
 *
 * Values (1 KiB, unless the scenario says otherwise) are JSON around base64 of seeded random bytes: like a Secret or a ConfigMap with
 * binary data. zstd saves about a quarter of such a value and finds next to nothing between two.
 */
export class KeySpace {
  readonly prefix: string;
  readonly keys: KnownKey[] = [];
  /** Told of every acknowledged write. */
  onAcknowledged: (key: KnownKey) => void = () => {};
  readonly shape: KeyShape;
  private readonly pool: Buffer;
  private readonly fraction: () => number;

  constructor(shape: KeyShape) {
    this.shape = shape;
    this.prefix = shape.prefix;
    this.fraction = seededFractions(shape.seed);
    const random = Buffer.alloc(3 * 2 ** 20);
    for (let at = 0; at < random.length; at += 4) random.writeUInt32LE(this.fraction() * 2 ** 32, at);
    this.pool = Buffer.from(random.toString('base64'), 'latin1');
  }

  /** A key that was never used before. */
  add(): KnownKey {
    const group = this.keys.length % this.shape.groups;
    const name = `${this.groupPrefix(group)}${String(this.keys.length).padStart(9, '0')}`;
    const key = { key: Buffer.from(name, 'latin1'), group, modRevision: 0, valueAt: 0, unknown: false };
    this.keys.push(key);
    return key;
  }

  /** What the keys of a group start with. */
  groupPrefix(group: number): string {
    return this.shape.groups === 1 ? this.prefix : `${this.prefix}${String(group).padStart(5, '0')}/`;
  }

  /** Where the next value is taken from in the pool. */
  nextValueAt(): number {
    return Math.floor(this.fraction() * (this.pool.length - this.shape.valueBytes));
  }

  /** A number in [0, below). */
  pick(below: number): number {
    return Math.floor(this.fraction() * below);
  }

  /** The value of `key` that takes its random part from `valueAt`. */
  value(key: KnownKey, valueAt: number): Buffer {
    const { valueBytes } = this.shape;
    const value = Buffer.allocUnsafe(valueBytes);
    if (valueBytes < jsonBytesMin) {
      this.pool.copy(value, 0, valueAt, valueAt + valueBytes);
      return value;
    }
    const name = key.key.toString('latin1');
    const head = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"${name}"},"binaryData":{"data":"`;
    const start = value.write(head, 0, 'latin1');
    this.pool.copy(value, start, valueAt, valueAt + valueBytes - start - 3);
    value.write('"}}', valueBytes - 3, 'latin1');
    return value;
  }
}
