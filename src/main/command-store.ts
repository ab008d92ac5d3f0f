import { systemClock } from '../shared/base/clock.ts';
import { errorMessage } from '../shared/base/errors.ts';
import { systemRandom } from '../shared/base/random.ts';
import { type CommandOutput, noteLog } from './command-output.ts';
import { Appender } from './store/append.ts';
import { type OpenStoreOptions, openReferencesToRead, openStoreToRead } from './store/open.ts';
import { retryingReads, retryingStore } from './store/retry.ts';
import type { ObjectStore, ReadableStore } from './store/store.ts';

/** How commands that end reach stores: patiently, and without a second request for one that is slow. */

/** They give up when a store fails for so long. */
const RETRY = { clock: systemClock, random: systemRandom, retryForMs: 60_000 };
const ATTEMPT_TIMEOUT_MS = 60_000;

/**
 * Opens a store, and those that it refers to, to look at. Nothing is written, so nothing is proved either. Somebody who
 * waits while it does not answer is told why, once.
 */
export async function openToRead(
  url: string,
  options: OpenStoreOptions,
  { note }: Pick<CommandOutput, 'note'>,
): Promise<ReadableStore> {
  const opened = await openStoreToRead(url, options);
  let isTold = false;
  const retrying = (error: unknown): void => {
    if (!isTold) note(`trying for ${RETRY.retryForMs / 1000} s: ${errorMessage(error)}`);
    isTold = true;
  };
  return openReferencesToRead(retryingReads(opened, { ...RETRY, retrying }), options);
}

/** The store, whose calls that may be repeated are tried again. */
export function retried(store: ObjectStore): ObjectStore {
  return retryingStore(store, RETRY);
}

/** Creates an object if no other has its name; trouble on the way is told as notes. Rejects with it when it does not pass. */
export function appendTo(
  store: ObjectStore,
  output: CommandOutput,
  signal?: AbortSignal,
): (key: string, object: Uint8Array) => Promise<'durable' | 'lost'> {
  const appender = new Appender(store, {
    hedgeAfterMs: 'off',
    attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
    retryForMs: RETRY.retryForMs,
    clock: systemClock,
    random: systemRandom,
    log: noteLog(output),
  });
  return (key, object) => appender.append(key, object, 0, signal);
}
