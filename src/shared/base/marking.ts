import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import type { Clock } from './clock.ts';

/**
 * How V8 finds what is garbage. Left to itself it marks the heap step by step, long before it is full: what ArrayBuffers
 * hold outside of it counts for that, and a server's are most of what it has. So a heap of 20 MB was marked twice a second, for
 * 10 % of all processor time. Marked in one go it takes as long as one of those times, and is done when memory is wanted
 * (docs/decisions/memory.md). A large heap would stand still for too long, so it is marked in steps again.
 */

/** Marking that much takes some 100 ms in one go. */
const SMALL_HEAP_BYTES = 96 * 1024 * 1024;
const LOOK_EVERY_MS = 2_000;

/** Has the heaps of this process's threads marked in one go, until the calling thread's is large. Once per process. */
export function markInOneGo(clock: Clock): void {
  setFlagsFromString('--no-incremental-marking');
  const look = (): void => {
    if (getHeapStatistics().used_heap_size > SMALL_HEAP_BYTES) setFlagsFromString('--incremental-marking');
    else clock.after(LOOK_EVERY_MS, look);
  };
  look();
}
