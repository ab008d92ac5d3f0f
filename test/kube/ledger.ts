import { type KubeObject, versionOf } from './api-client.ts';
import { contentOf } from './objects.ts';

/** One object's state; no version when only an unanswered request would tell it. */
export type State =
  | { readonly present: true; readonly content: string; readonly version?: bigint }
  | { readonly present: false };

export const ABSENT: State = { present: false };

/**
 * What one object may be. Only its own writer writes it, always on a condition, so it is what was last
 * acknowledged or read, or what an unanswered request since then made of it, and nothing else.
 */
export class Entry {
  readonly name: string;
  /** The newest state that an answer vouches for. */
  known: State = ABSENT;
  /** What unanswered requests since then may have made of it. */
  possible: State[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** An acknowledged write. Its condition held, so that of no unanswered earlier one can hold any more. */
  acknowledge(state: State): void {
    this.known = state;
    this.possible = [];
  }

  /** Takes in what a read shows; throws when that can't be: something acknowledged is gone or changed. */
  observe(state: State): void {
    if (same(state, this.known)) return;
    if (!this.possible.some((other) => same(state, other)) || !this.#newer(state)) {
      throw new Error(
        `${this.name} is ${show(state)}; acknowledged or read before was ${show(this.known)}, ` +
          `unanswered requests may have made it ${this.possible.map(show).join(' or ') || 'nothing else'}`,
      );
    }
    this.acknowledge(state);
  }

  #newer(state: State): boolean {
    if (!state.present || !this.known.present) return true;
    return (
      state.version === undefined || this.known.version === undefined || state.version > this.known.version
    );
  }
}

/** The state that an object which exists is in. */
export function stateOf(object: KubeObject): State {
  return { present: true, content: contentOf(object) ?? '', version: versionOf(object) };
}

function same(a: State, b: State): boolean {
  if (!a.present || !b.present) return a.present === b.present;
  const sameVersion = a.version === undefined || b.version === undefined || a.version === b.version;
  return sameVersion && a.content === b.content;
}

function show(state: State): string {
  return state.present ? `version ${state.version ?? '?'} ${state.content.slice(0, 24)}…` : 'absent';
}
