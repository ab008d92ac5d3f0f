import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { LogObject } from './log-objects.ts';

/** The log can't be followed to its end: a chunk that must be there is not. */
export class BrokenLogError extends Error {
  override name = 'BrokenLogError';
}

/**
 * Decides, object by object, which chunks are the log. Sequences are contiguous except after an epoch chunk,
 * whose `skipTo` names the next one: what lies between was put by a fenced primary and is ignored. The log ends
 * at the first missing sequence. A few chunks may lie beyond it: uploads that overtook one that never came;
 * nobody was told that they happened. More than a pipeline's depth beyond, chunks must have been deleted; so they
 * must where an epoch chunk lies beyond, because its writer had followed the log without a gap up to it.
 */
export class LogWalk {
  /** The sequence that the log goes on with. */
  next: number;
  #beyond = 0;

  constructor(next: number) {
    this.next = next;
  }

  /** Whether `object`, the next one listed, or what it holds from `next` on, is part of the log. */
  takes({ first, last, isPack }: Pick<LogObject, 'first' | 'last' | 'isPack'>): boolean {
    if (last < this.next) return false;
    if (first <= this.next) return this.#beyond === 0;
    this.#beyond = first;
    // A pack holds nothing but what was durable.
    if (isPack || first > this.next + PIPELINE_DEPTH_MAX) throw this.#broken(first);
    return false;
  }

  /** Looks at what a chunk that is not taken says. */
  passes(sequence: number, skipTo: number | undefined): void {
    if (sequence > this.next && skipTo !== undefined) throw this.#broken(sequence);
  }

  /** Goes past a chunk of the log. */
  took(sequence: number, skipTo: number | undefined): void {
    this.next = skipTo ?? sequence + 1;
  }

  #broken(sequence: number): BrokenLogError {
    return new BrokenLogError(
      `chunk ${this.next} is missing but chunk ${sequence} exists: ` +
        'the log has lost chunks; restore them from a backup or a version of the bucket',
    );
  }
}
