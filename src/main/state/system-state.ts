import type { SystemChange } from '../../shared/model/record.ts';

/** The server's own replicated state as far as it is durable: users, roles, alarms. */
export class SystemState {
  readonly #entries = new Map<string, Uint8Array>();
  readonly #listeners: { prefix: string; changed(change: SystemChange): void }[] = [];

  constructor(entries: readonly SystemChange[]) {
    this.change(entries);
  }

  /** Takes durable changes in, in log order, and tells those who follow them. */
  change(changes: readonly SystemChange[]): void {
    for (const change of changes) {
      if (change.value === undefined) this.#entries.delete(change.name);
      else this.#entries.set(change.name, change.value);
      for (const { prefix, changed } of this.#listeners) if (change.name.startsWith(prefix)) changed(change);
    }
  }

  /** Tells every entry under `prefix` now, and every change of one from now on. */
  follow(prefix: string, changed: (change: SystemChange) => void): void {
    this.#listeners.push({ prefix, changed });
    for (const [name, value] of this.#entries) if (name.startsWith(prefix)) changed({ name, value });
  }
}
