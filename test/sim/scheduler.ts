import type { Timer } from '../../src/shared/base/clock.ts';

interface Entry {
  readonly atMs: number;
  readonly order: number;
  readonly label: string;
  action: (() => void | Promise<void>) | undefined;
}

/**
 * Virtual time: one queue of what is to happen, in order of time and then of asking. One event runs at a time, and all
 * promises that it settles have run before the next one begins. An event that really takes time (zstd has threads of its
 * own) returns a promise, and is waited for: so nothing depends on how fast this machine is.
 */
export class Scheduler {
  /** World time in milliseconds. */
  nowMs = 0;
  /** Events so far: orders what happens at the same time. */
  step = 0;
  #hash = 0x811c9dc5;
  #order = 0;
  readonly #heap: Entry[] = [];

  /** What happened until now, in one number: the same for the same seed. */
  get traceHash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  at(atMs: number, label: string, action: () => void | Promise<void>): Timer {
    const entry: Entry = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, label, action };
    this.#push(entry);
    return {
      cancel: () => {
        entry.action = undefined;
      },
    };
  }

  after(delayMs: number, label: string, action: () => void | Promise<void>): Timer {
    return this.at(this.nowMs + delayMs, label, action);
  }

  /** Adds to the hash. */
  note(text: string): void {
    let hash = this.#hash;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.#hash = hash;
  }

  /** Lets events happen until `isOver`, until none is left, or until `untilMs`; answers whether `isOver`. */
  async run(untilMs: number, isOver: () => boolean): Promise<boolean> {
    for (;;) {
      if (isOver()) return true;
      const next = this.#heap[0];
      if (next === undefined || next.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return isOver();
      }
      this.#pop();
      if (next.action === undefined) continue;
      this.nowMs = next.atMs;
      this.step++;
      this.note(next.label);
      this.#hash = Math.imul(this.#hash ^ Math.round(next.atMs * 1000), 0x01000193);
      const done = next.action();
      if (done !== undefined) await done;
      // Runs after all promises that are settled, and those that they settle.
      await new Promise(setImmediate);
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >>> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
