import type { TaskPool } from '../pool/pool.ts';
import type { ReadableStore } from '../store/store.ts';

/** Which point of a log is meant. */
export type Wanted =
  | { readonly kind: 'end' }
  /** The last moment at which the store was at this revision. */
  | { readonly kind: 'revision'; readonly revision: number }
  /** The chunk at this sequence: what an earlier run chose. */
  | { readonly kind: 'sequence'; readonly sequence: number }
  /** The last chunk that was made no later than this: milliseconds since the Unix epoch, by its writer's clock. */
  | { readonly kind: 'time'; readonly timeMs: number };

/** What can't be had, in one line that says what can. */
export class RestoreError extends Error {
  override name = 'RestoreError';
}

/** As RFC 3339 has it, in UTC. */
export function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

/** What a log is read from. */
export interface LogSource {
  /** Tries again what fails. */
  readonly store: Omit<ReadableStore, 'close'>;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame' | 'openPiece' | 'inflate'>;
  /** Ends the reading, which rejects with its reason then. */
  readonly signal: AbortSignal;
}
