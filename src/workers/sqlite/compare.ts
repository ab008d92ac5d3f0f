import { compareBytes, NO_BYTES } from '../../shared/base/bytes.ts';
import type { Compare } from '../../shared/etcd/requests.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import type { KeyView } from './view.ts';

/** etcdserverpb.Compare.CompareTarget and CompareResult. */
const Target = { Version: 0, Create: 1, Mod: 2, Value: 3, Lease: 4 } as const;
const Result = { Equal: 0, Greater: 1, Less: 2, NotEqual: 3 } as const;
/** The field numbers of Compare's target_union. */
const Union = { Version: 4, Create: 5, Mod: 6, Value: 7, Lease: 8 } as const;

/** How a key that is not there compares. */
const NO_STATE: KeyState = {
  key: NO_BYTES,
  modRevision: 0,
  createRevision: 0,
  version: 0,
  lease: 0n,
  rowId: 0,
  kv: undefined,
};

/** Whether every guard of a transaction holds in `view`. */
export function holdsAll(view: KeyView, compares: Compare[]): boolean {
  return compares.every((compare) => holds(view, compare));
}

/** A guard over a range holds when it holds for each key; a missing key compares as zeros, except by value. */
function holds(view: KeyView, compare: Compare): boolean {
  const states = statesOf(view, compare);
  if (states.length === 0) {
    if (compare.target === Target.Value) return false;
    return matches(compare.result, order(view, NO_STATE, compare));
  }
  return states.every((state) => matches(compare.result, order(view, state, compare)));
}

function statesOf(view: KeyView, compare: Compare): KeyState[] {
  if (compare.rangeEnd.length > 0) return view.list(compare, view.revision, 0);
  const state = view.get(compare.key);
  return state === undefined ? [] : [state];
}

/** How the key's attribute sorts against the operand. An operand of another type than the target is zero. */
function order(view: KeyView, state: KeyState, compare: Compare): number {
  const operand = (union: number): number => (compare.union === union ? compare.operand : 0);
  switch (compare.target) {
    case Target.Version:
      return state.version - operand(Union.Version);
    case Target.Create:
      return state.createRevision - operand(Union.Create);
    case Target.Mod:
      return state.modRevision - operand(Union.Mod);
    case Target.Value:
      return compareBytes(decodeKeyValue(view.kv(state)).value, compare.value);
    case Target.Lease: {
      const lease = compare.union === Union.Lease ? compare.lease : 0n;
      return state.lease === lease ? 0 : state.lease < lease ? -1 : 1;
    }
    default:
      return 0;
  }
}

function matches(result: number, sign: number): boolean {
  switch (result) {
    case Result.Equal:
      return sign === 0;
    case Result.Greater:
      return sign > 0;
    case Result.Less:
      return sign < 0;
    case Result.NotEqual:
      return sign !== 0;
    default:
      return true;
  }
}
