/** How many more PUTs than uploads there may be: earned as uploads and writes come, saved up to a limit. */
export class PutAllowance {
  readonly #perEarned: number;
  readonly #savedMax: number;
  #saved: number;

  constructor(perEarned: number, savedMax: number, saved: number) {
    this.#perEarned = perEarned;
    this.#savedMax = savedMax;
    this.#saved = saved;
  }

  earn(times: number): void {
    this.#saved = Math.min(this.#savedMax, this.#saved + this.#perEarned * times);
  }

  /** Whether one more PUT may be sent now; it is then counted. */
  spend(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}
