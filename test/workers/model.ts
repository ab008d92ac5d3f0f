import { compareBytes } from '../../src/shared/base/bytes.ts';

interface Version {
  readonly revision: number;
  /** Undefined for a delete. */
  readonly value: string | undefined;
  readonly lease: number;
}

/** Keys in plain maps: what a store must hold, by the simplest means. */
export class KeyModel {
  revision = 1;
  compactRevision = -1;
  readonly leases = new Set<number>();
  readonly #versions = new Map<string, Version[]>();

  put(key: string, value: string, lease: number): void {
    this.revision++;
    this.#add(key, value, lease);
  }

  /** Deletes what `wanted` takes, in one revision; answers how many keys that were. */
  delete(wanted: (key: string, lease: number) => boolean): number {
    const keys = this.keys(this.revision).filter((key) => wanted(key, this.#at(key, this.revision)!.lease));
    if (keys.length > 0) this.revision++;
    for (const key of keys) this.#add(key, undefined, 0);
    return keys.length;
  }

  /** Living keys in order. */
  keys(revision: number): string[] {
    const living = [...this.#versions.keys()].filter((key) => this.#at(key, revision)?.value !== undefined);
    return living.sort((a, b) => compareBytes(Buffer.from(a), Buffer.from(b)));
  }

  value(key: string, revision: number): string | undefined {
    return this.#at(key, revision)?.value;
  }

  /** The (key, revision) pairs that a compaction at `at` leaves, of everything written until now. */
  keptAfter(at: number): string[] {
    const kept: string[] = [];
    for (const [key, versions] of this.#versions) {
      const newest = versions.findLast(({ revision }) => revision <= at);
      for (const version of versions) {
        const { revision, value } = version;
        const isNeeded = version === newest && (value !== undefined || revision === at);
        if (revision > at || isNeeded) kept.push(`${key}@${revision}`);
      }
    }
    return kept.sort();
  }

  #at(key: string, revision: number): Version | undefined {
    return this.#versions.get(key)?.findLast((version) => version.revision <= revision);
  }

  #add(key: string, value: string | undefined, lease: number): void {
    const versions = this.#versions.get(key) ?? [];
    versions.push({ revision: this.revision, value, lease });
    this.#versions.set(key, versions);
  }
}

/** Whether a range as etcd writes it has the key. */
export function inRange(key: string, end: string, candidate: string): boolean {
  if (end === '') return candidate === key;
  return candidate >= key && (end === '\0' || candidate < end);
}
