import type { Model, Operation } from './linearizability.ts';

/** What etcd promises of one key, and of the revision that all keys share, for the checker. */

export type RegisterInput = { readonly key: string } & (
  | { readonly kind: 'get' }
  | { readonly kind: 'put'; readonly value: string }
  /** A transaction: if the key's mod revision is `expected` (0: if it is absent), put. */
  | { readonly kind: 'swap'; readonly expected: number; readonly value: string }
  | { readonly kind: 'delete' }
);

/** What was answered. Of a write, `revision` is the header's: the key's new mod revision, or 0 if nothing was written. */
export type RegisterOutput =
  | { readonly kind: 'found'; readonly value: string; readonly modRevision: number; readonly version: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'written'; readonly revision: number }
  | { readonly kind: 'refused' };

export type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

/** A revision: exact, or of a write whose answer was lost: one of those in `[min, …)` that are not in `not`. */
type Revision = { readonly exact: number } | { readonly min: number; readonly not: readonly number[] };

interface Register {
  /** Undefined: absent. */
  readonly value: string | undefined;
  /** Of the last put or delete. */
  readonly revision: Revision;
  /** Puts since the key was created. */
  readonly version: number;
}

/** Revision 1 is that of the empty store. */
const EMPTY: Register = { value: undefined, revision: { exact: 1 }, version: 0 };

/** One register per key, with etcd's revisions and versions. */
export const REGISTERS: Model<Register, RegisterInput, RegisterOutput> = {
  init: () => EMPTY,
  equal: (left, right) =>
    left.value === right.value &&
    left.version === right.version &&
    JSON.stringify(left.revision) === JSON.stringify(right.revision),
  step: (state, input, output) => {
    switch (input.kind) {
      case 'get':
        return stepGet(state, output);
      case 'put':
        return stepWrite(state, input.value, output);
      case 'delete':
        return stepDelete(state, output);
      case 'swap':
        return stepSwap(state, input.expected, input.value, output);
    }
  },
  partition: (history) => {
    const parts = new Map<string, RegisterOperation[]>();
    for (const operation of history) {
      const part = parts.get(operation.input.key);
      if (part === undefined) parts.set(operation.input.key, [operation]);
      else part.push(operation);
    }
    return parts;
  },
};

const NOWHERE: readonly Register[] = [];

function stepGet(state: Register, output: RegisterOutput | undefined): readonly Register[] {
  if (output === undefined) return [state];
  if (output.kind === 'absent') return state.value === undefined ? [state] : NOWHERE;
  if (output.kind !== 'found') return NOWHERE;
  if (state.value !== output.value || state.version !== output.version) return NOWHERE;
  return pinned(state, output.modRevision);
}

function stepDelete(state: Register, output: RegisterOutput | undefined): readonly Register[] {
  // To delete what is not there writes nothing.
  if (state.value === undefined) return output === undefined || output.kind === 'refused' ? [state] : NOWHERE;
  return output?.kind === 'refused' ? NOWHERE : stepWrite(state, undefined, output);
}

function stepSwap(
  state: Register,
  expected: number,
  value: string,
  output: RegisterOutput | undefined,
): readonly Register[] {
  const same = expected === 0 ? (state.value === undefined ? [state] : NOWHERE) : matching(state, expected);
  const other = expected === 0 ? (state.value === undefined ? NOWHERE : [state]) : differing(state, expected);
  if (output?.kind === 'refused') return other;
  const swapped = same.flatMap((before) => stepWrite(before, value, output));
  return output === undefined ? [...swapped, ...other] : swapped;
}

function stepWrite(
  { revision, version }: Register,
  value: string | undefined,
  output: RegisterOutput | undefined,
): readonly Register[] {
  if (output !== undefined && output.kind !== 'written') return NOWHERE;
  const min = lowest(revision) + 1;
  if (output !== undefined && output.revision < min) return NOWHERE;
  return [
    {
      value,
      revision: output === undefined ? { min, not: [] } : { exact: output.revision },
      version: value === undefined ? 0 : version + 1,
    },
  ];
}

/** The state if the key is there with that mod revision. */
function matching(state: Register, revision: number): readonly Register[] {
  return state.value === undefined ? NOWHERE : pinned(state, revision);
}

/** The state if the key is not there, or has another mod revision. */
function differing(state: Register, revision: number): readonly Register[] {
  if (state.value === undefined) return [state];
  const stated = state.revision;
  if ('exact' in stated) return stated.exact === revision ? NOWHERE : [state];
  if (revision < stated.min || stated.not.includes(revision)) return [state];
  const not = [...stated.not, revision].sort((left, right) => left - right);
  return [{ ...state, revision: { ...stated, not } }];
}

function pinned(state: Register, revision: number): readonly Register[] {
  const stated = state.revision;
  if ('exact' in stated) return stated.exact === revision ? [state] : NOWHERE;
  if (revision < stated.min || stated.not.includes(revision)) return NOWHERE;
  return [{ ...state, revision: { exact: revision } }];
}

/** The least that a revision can be. */
function lowest(revision: Revision): number {
  if ('exact' in revision) return revision.exact;
  let least = revision.min;
  for (const not of revision.not) if (not === least) least++;
  return least;
}

/** A call as far as its main revision goes: what a write made, or what the header of a linearizable read said. */
export interface RevisionOperation {
  readonly kind: 'write' | 'read';
  readonly revision: number;
  readonly call: number;
  readonly return: number;
}

/**
 * Undefined if the main revisions are those of some order of the calls: each write has one of its own, and none is
 * below that of a write or read that had returned before its call (for a write: or equal to it). Else what is wrong.
 * Calls that were not answered say nothing and are left out. It needs no search, so it is never undecided.
 */
export function revisionProblem(operations: readonly RevisionOperation[]): string | undefined {
  const writers = new Map<number, RevisionOperation>();
  for (const operation of operations) {
    if (operation.kind !== 'write') continue;
    const other = writers.get(operation.revision);
    if (other !== undefined) return `${told(operation)} and ${told(other)} have one revision`;
    writers.set(operation.revision, operation);
  }
  const byReturn = [...operations].sort((left, right) => left.return - right.return);
  let returned = 0;
  let newest: RevisionOperation | undefined;
  for (const operation of [...operations].sort((left, right) => left.call - right.call)) {
    for (; byReturn[returned]!.return < operation.call; returned++) {
      const earlier = byReturn[returned]!;
      if (newest === undefined || earlier.revision > newest.revision) newest = earlier;
    }
    if (newest === undefined || operation.revision > newest.revision) continue;
    if (operation.kind === 'read' && operation.revision === newest.revision) continue;
    return `${told(operation)} was called after ${told(newest)} had returned`;
  }
  return undefined;
}

function told(operation: RevisionOperation): string {
  return `the ${operation.kind} of revision ${operation.revision} (from ${operation.call} to ${operation.return})`;
}
