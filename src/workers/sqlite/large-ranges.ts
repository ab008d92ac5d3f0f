import type { Statement } from 'better-sqlite3';
import type { RangeRequest } from '../../shared/etcd/requests.ts';
import { isSingleKey } from '../../shared/model/key-range.ts';
import type { Connection } from './database.ts';
import { isPage } from './range.ts';
import { boundsOf, SHAPES, shapeOf } from './range-shape.ts';

/** A list of so many keys of 1 KiB takes a reader some milliseconds, during which no other read is answered. */
export const LARGE_KEYS = 1000;

/** Tells ranges that would hold other reads up. */
export class LargeRanges {
  readonly #keys: Statement[];

  constructor(connection: Connection) {
    this.#keys = SHAPES.map((where) =>
      connection.prepare(`SELECT 1 FROM current WHERE ${where} LIMIT 1 OFFSET ${LARGE_KEYS - 1}`).pluck(),
    );
  }

  /**
   * Whether answering takes so many keys. It looks at keys alone, and at no more of them than it takes to tell, and at
   * those of now, also for a read of an old revision.
   */
  has(request: RangeRequest): boolean {
    if (request.countOnly || isSingleKey(request)) return false;
    if (isPage(request) && request.limit > 0 && request.limit < LARGE_KEYS) return false;
    return this.#keys[shapeOf(request)]!.get(...boundsOf(request)) !== undefined;
  }
}
