import { seededFractions } from '../store/delay.ts';

/** Bytes of every value. */
const valueBytes = 1024;

/** What the generator knows of one key. */
export interface KnownKey {
  readonly key: Buffer;
  /** Of the newest acknowledged write; 0 when no write of it was acknowledged. */
  modRevision: number;
  /** Which value that write put: the pool's offset. */
  valueAt: number;
  /** A write whose fate is unknown; the key may hold the old or the new value, and is left alone. */
  unknown: boolean;
}

/**
 * The keys of one load process and what must be read back from them.
 *
 * Values are 1 KiB of JSON around base64 of seeded random bytes: like a Secret or a ConfigMap with
 * binary data. zstd saves about a quarter of such a value and finds next to nothing between two.
 */
export class KeySpace {
  readonly prefix: string;
  readonly keys: KnownKey[] = [];
  private readonly pool: Buffer;
  private readonly fraction: () => number;

  constructor(prefix: string, seed: number) {
    this.prefix = prefix;
    this.fraction = seededFractions(seed);
    const random = Buffer.alloc(3 * 2 ** 20);
    for (let at = 0; at < random.length; at += 4) random.writeUInt32LE(this.fraction() * 2 ** 32, at);
    this.pool = Buffer.from(random.toString('base64'), 'latin1');
  }

  /** A key that was never used before. */
  add(): KnownKey {
    const name = `${this.prefix}${String(this.keys.length).padStart(9, '0')}`;
    const key = { key: Buffer.from(name, 'latin1'), modRevision: 0, valueAt: 0, unknown: false };
    this.keys.push(key);
    return key;
  }

  /** Where the next value is taken from in the pool. */
  nextValueAt(): number {
    return Math.floor(this.fraction() * (this.pool.length - valueBytes));
  }

  /** A number in [0, below). */
  pick(below: number): number {
    return Math.floor(this.fraction() * below);
  }

  /** The value of `key` that takes its random part from `valueAt`. */
  value(key: KnownKey, valueAt: number): Buffer {
    const value = Buffer.allocUnsafe(valueBytes);
    const name = key.key.toString('latin1');
    const head = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"${name}"},"binaryData":{"data":"`;
    const start = value.write(head, 0, 'latin1');
    this.pool.copy(value, start, valueAt, valueAt + valueBytes - start - 3);
    value.write('"}}', valueBytes - 3, 'latin1');
    return value;
  }
}
