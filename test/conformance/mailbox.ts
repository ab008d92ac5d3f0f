/** Lets whoever waits for messages look again whenever one has come. */
export class Mailbox {
  #waiting: (() => void)[] = [];

  /** Something has come. */
  notify(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves to true when `condition` holds, or to false after `patienceMs`. */
  async until(condition: () => boolean, patienceMs: number): Promise<boolean> {
    if (condition()) return true;
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      this.notify();
    }, patienceMs);
    while (!condition() && !over) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    clearTimeout(timer);
    return condition();
  }
}
