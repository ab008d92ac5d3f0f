interface Waiter {
  revision: number;
  resolve: () => void;
}

/** Who waits until the rows below a compaction revision are gone (`physical` compactions). */
export class CompactionWaiters {
  #done: number;
  #waiters: Waiter[] = [];

  constructor(compactedRevision: number) {
    this.#done = compactedRevision;
  }

  /** Resolves when the rows that the compaction at `revision` made unreachable are removed. */
  wait(revision: number): Promise<void> {
    if (revision <= this.#done) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ revision, resolve }));
  }

  compactedTo(revision: number): void {
    this.#done = revision;
    const waiting = this.#waiters;
    this.#waiters = waiting.filter((waiter) => waiter.revision > revision);
    for (const waiter of waiting) if (waiter.revision <= revision) waiter.resolve();
  }
}
