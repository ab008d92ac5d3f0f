import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { hex64 } from '../../shared/format/corrupt.ts';
import { condemnedKey, pinKey, referenceKey } from '../../shared/format/names.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';
import { StoreError } from '../store/errors.ts';
import { checkReferred, encodeReference, type Reference } from '../store/references.ts';
import type { ObjectStore } from '../store/store.ts';

/**
 * A fork's snapshot that stays where it is. The store that has it gets a pin, which its retention honours (see
 * `upkeep/pins.ts`), and only then the fork a reference: so there is never a reference without a pin. A pin
 * without a reference, as a process leaves that is killed between the two, keeps one snapshot for nothing.
 */
export interface Holder {
  /** The store that has the snapshot, as `openStore` takes it. */
  readonly url: string;
  readonly store: ObjectStore;
}

export interface ReferParts {
  readonly holder: Holder;
  /** The fork's URL, for people. */
  readonly into: string;
  append(key: string, object: Uint8Array): Promise<'durable' | 'lost'>;
  readonly clock: Clock;
  readonly random: Random;
  note(text: string): void;
}

/**
 * Makes the fork refer to the snapshot, with which the fork is a store. Resolves to false when that can't be, and says
 * why: the snapshot is about to be deleted, or the store that has it may only be read.
 */
export async function refer(
  parts: ReferParts,
  { sequence, size, key: snapshot }: StoredSnapshot,
  header: SnapshotHeader,
  clusterId: bigint,
): Promise<boolean> {
  const { holder, into, append, clock, random, note } = parts;
  const pin = pinKey(sequence, clusterId, randomId(random));
  const createdAt = new Date(clock.wallMs()).toISOString();
  try {
    const said = { version: 1, snapshot, sequence, store: into, createdAt };
    await holder.store.put(pin, Buffer.from(`${JSON.stringify(said)}\n`));
  } catch (error) {
    if (!(error instanceof StoreError && error.kind === 'denied')) throw error;
    note(`copying the snapshot, because it can't be pinned: ${error.message}`);
    return false;
  }
  const reference: Reference = { url: holder.url, sequence, size, headerCrc: hex64(header.crc), pin };
  let isPinNeeded = false;
  try {
    if ((await holder.store.get(condemnedKey(sequence))) !== undefined) {
      note(`copying the snapshot, because retention of ${holder.url} is about to delete it`);
      return false;
    }
    await checkReferred(holder.store, reference);
    isPinNeeded = true;
    // Lost to the same fork, which another process runs: that one's pin counts.
    isPinNeeded = (await append(referenceKey(sequence), encodeReference(reference))) === 'durable';
    return true;
  } finally {
    if (!isPinNeeded) await dropPin(holder, pin, note);
  }
}

async function dropPin({ url, store }: Holder, pin: string, note: (text: string) => void): Promise<void> {
  try {
    await store.delete(pin);
  } catch (error) {
    note(`could not delete ${pin} of ${url}, which keeps a snapshot there: ${errorMessage(error)}`);
  }
}
