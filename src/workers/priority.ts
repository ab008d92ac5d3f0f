import { getPriority, setPriority } from 'node:os';

const NICE_MAX = 19;

/**
 * Lowers the priority of this thread, as nice(1) does, for good: beside a thread of the usual priority that wants the same
 * core, one of 10 more gets a tenth of it. Linux counts priority by thread; elsewhere it is the whole process's and stays.
 */
export function stepBack(nice: number): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(Math.min(NICE_MAX, getPriority() + nice));
  } catch {
    // A sandbox that forbids it: the thread then takes the processor as every other does.
  }
}
