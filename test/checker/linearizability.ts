/**
 * A checker of linearizability in the manner of Porcupine: Wing and Gong's search with Lowe's memoization, each
 * partition of the history by itself. It looks for an order of the operations that a sequential model accepts and in
 * which none comes before another that had returned when it was called.
 *
 * Beyond Porcupine: an operation that may take effect now and leaves the state as it is takes effect now, without an
 * alternative (if any order exists, the one that has it first exists too); so reads cost nothing. An operation of
 * unknown outcome may take effect at any time after its call, or never.
 */

/** One call of a client. */
export interface Operation<Input, Output> {
  readonly input: Input;
  /** What was answered; undefined if that is not known, and then `return` is Infinity. */
  readonly output: Output | undefined;
  /**
   * Two numbers that rise with real time. Where one operation's return equals another's call they count as
   * concurrent; where time stands still (in a simulation), number the events instead.
   */
  readonly call: number;
  /**
   * Infinity if the outcome is unknown. With an output as well (it was learned otherwise, for instance from the log
   * afterwards) the operation may take effect with that output alone, or never.
   */
  readonly return: number;
}

/** What the operations mean when they happen one after the other. */
export interface Model<State, Input, Output> {
  init(): State;
  /**
   * The states that there may be after the operation took effect in `state` with that output; none if it can't have
   * had that output. Without an output: after any. States are values: never changed in place.
   */
  step(state: State, input: Input, output: Output | undefined): readonly State[];
  equal(left: State, right: State): boolean;
  /** Histories that are linearizable together if each is; by default the whole history. */
  partition?(
    history: readonly Operation<Input, Output>[],
  ): Iterable<readonly [name: string, history: readonly Operation<Input, Output>[]]>;
}

export interface CheckOptions {
  /** Calls of `step` per partition before the checker gives up. */
  readonly stepsMax?: number;
}

export type Verdict<Input, Output> =
  | { readonly kind: 'linearizable'; readonly steps: number }
  /** The budget was spent on this partition, and none of the others is refused. */
  | { readonly kind: 'unknown'; readonly steps: number; readonly partition: string }
  | {
      readonly kind: 'not linearizable';
      readonly steps: number;
      readonly partition: string;
      /** The most operations that could be put in order, in that order. */
      readonly order: readonly Operation<Input, Output>[];
      /** What had returned by the time nothing more could follow, and can't. */
      readonly stuck: Operation<Input, Output>;
    };

const STEPS_MAX = 2_000_000;
const WHOLE = 'all';

/** Whether there is an order in which the operations can have happened. Never answers wrongly: `unknown` when it can't tell. */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  options: CheckOptions = {},
): Verdict<Input, Output> {
  const { stepsMax = STEPS_MAX } = options;
  let steps = 0;
  let undecided: string | undefined;
  for (const [partition, part] of model.partition?.(history) ?? [[WHOLE, history] as const]) {
    const search = new Search(model, part, stepsMax);
    const found = search.run();
    steps += search.steps;
    if (found === 'none') return { kind: 'not linearizable', steps, partition, ...search.furthest() };
    if (found === 'budget') undecided ??= partition;
  }
  return undecided === undefined
    ? { kind: 'linearizable', steps }
    : { kind: 'unknown', steps, partition: undecided };
}

/** A call or a return, in a list from which operations are lifted and put back. */
interface Node {
  /** Of the operation; -1 at the list's head. */
  readonly id: number;
  readonly isCall: boolean;
  /** The other node of the operation; undefined at the head, and for a call that never returned. */
  match: Node | undefined;
  previous: Node | undefined;
  next: Node | undefined;
}

/** A decision that was made: the operation that took effect, and what was there before. */
interface Frame<State> {
  readonly call: Node;
  readonly before: State;
  /** Which of the states after it was tried. */
  readonly choice: number;
  /** There is no need to try anything else. */
  readonly forced: boolean;
}

class Search<State, Input, Output> {
  steps = 0;
  readonly #model: Model<State, Input, Output>;
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #stepsMax: number;
  /** Operations that returned and have not taken effect. */
  #open: number;
  readonly #head: Node;
  readonly #done: DoneSet;
  readonly #seen = new Map<number, { done: Uint32Array; state: State }[]>();
  readonly #frames: Frame<State>[] = [];
  #state: State;
  #furthest: { order: number[]; stuck: number } = { order: [], stuck: 0 };

  constructor(
    model: Model<State, Input, Output>,
    history: readonly Operation<Input, Output>[],
    stepsMax: number,
  ) {
    this.#model = model;
    this.#stepsMax = stepsMax;
    this.#state = model.init();
    const inOrder = [...history].sort((left, right) => left.call - right.call);
    const returned = inOrder.filter((operation) => operation.return !== Number.POSITIVE_INFINITY);
    const lost = inOrder.filter((operation) => operation.return === Number.POSITIVE_INFINITY);
    this.#operations = [...returned, ...lost];
    this.#open = returned.length;
    this.#done = new DoneSet(returned.length, lost.length);
    this.#head = listOf(this.#operations);
  }

  run(): 'order' | 'none' | 'budget' {
    let node = this.#settle();
    let choice = 0;
    while (this.#open > 0) {
      if (this.steps > this.#stepsMax) return 'budget';
      if (node?.isCall) {
        if (this.#take(node, choice)) {
          node = this.#settle();
          choice = 0;
        } else if (choice < this.#choices - 1) choice++;
        else {
          node = node.next;
          choice = 0;
        }
        continue;
      }
      this.#note(node!);
      const frame = this.#back();
      if (frame === undefined) return 'none';
      node = frame.call;
      choice = frame.choice + 1;
    }
    return 'order';
  }

  /** The longest order that was found, and what could not follow it. */
  furthest(): { order: Operation<Input, Output>[]; stuck: Operation<Input, Output> } {
    const { order, stuck } = this.#furthest;
    return { order: order.map((id) => this.#operations[id]!), stuck: this.#operations[stuck]! };
  }

  /** How many states the last `#take` had to choose from. */
  #choices = 0;

  /** Lets the operation take effect with the `choice`th of its states, unless that leads where the search has been. */
  #take(call: Node, choice: number): boolean {
    const states = this.#step(call.id);
    this.#choices = states.length;
    if (choice >= states.length) return false;
    const state = states[choice]!;
    // Without an effect it may as well never have happened.
    if (call.match === undefined && this.#model.equal(state, this.#state)) return false;
    this.#done.add(call.id);
    if (!this.#isNew(state)) {
      this.#done.remove(call.id);
      return false;
    }
    this.#push(call, state, choice, false);
    return true;
  }

  /**
   * Lets everything take effect that may and changes nothing; then what may come next is from the first node of the
   * list to its first return.
   */
  #settle(): Node | undefined {
    let node = this.#head.next;
    while (node?.isCall) {
      const call: Node = node;
      node = call.next;
      // What stood before it has been asked already: the state is the same.
      if (call.match === undefined || !this.#changesNothing(call.id)) continue;
      if (node === call.match) node = call.match.next;
      this.#done.add(call.id);
      this.#push(call, this.#state, 0, true);
    }
    return this.#head.next;
  }

  #changesNothing(id: number): boolean {
    const states = this.#step(id);
    return states.length === 1 && this.#model.equal(states[0]!, this.#state);
  }

  #step(id: number): readonly State[] {
    this.steps++;
    const { input, output } = this.#operations[id]!;
    return this.#model.step(this.#state, input, output);
  }

  #isNew(state: State): boolean {
    const { hash } = this.#done;
    const bucket = this.#seen.get(hash) ?? [];
    if (bucket.length === 0) this.#seen.set(hash, bucket);
    const done = this.#done.copy();
    const known = bucket.some(
      (entry) => sameWords(entry.done, done) && this.#model.equal(entry.state, state),
    );
    if (!known) bucket.push({ done, state });
    return !known;
  }

  #push(call: Node, state: State, choice: number, forced: boolean): void {
    this.#frames.push({ call, before: this.#state, choice, forced });
    this.#state = state;
    if (call.match !== undefined) this.#open--;
    lift(call);
  }

  /** Undoes the last decision that had an alternative, and everything since. */
  #back(): Frame<State> | undefined {
    for (;;) {
      const frame = this.#frames.pop();
      if (frame === undefined) return undefined;
      unlift(frame.call);
      this.#done.remove(frame.call.id);
      this.#state = frame.before;
      if (frame.call.match !== undefined) this.#open++;
      if (!frame.forced) return frame;
    }
  }

  #note(stuck: Node): void {
    if (this.#frames.length < this.#furthest.order.length) return;
    this.#furthest = { order: this.#frames.map(({ call }) => call.id), stuck: stuck.id };
  }
}

/** Calls and returns in order of time, calls first where they are at the same time. */
function listOf(operations: readonly Operation<unknown, unknown>[]): Node {
  const events = operations.flatMap((operation, id) => {
    const call: Node = { id, isCall: true, match: undefined, previous: undefined, next: undefined };
    const events = [{ time: operation.call, node: call }];
    if (operation.return !== Number.POSITIVE_INFINITY) {
      const back: Node = { id, isCall: false, match: call, previous: undefined, next: undefined };
      call.match = back;
      events.push({ time: operation.return, node: back });
    }
    return events;
  });
  events.sort(
    (left, right) => left.time - right.time || Number(right.node.isCall) - Number(left.node.isCall),
  );
  const head: Node = { id: -1, isCall: false, match: undefined, previous: undefined, next: undefined };
  let last = head;
  for (const { node } of events) {
    last.next = node;
    node.previous = last;
    last = node;
  }
  return head;
}

function lift(call: Node): void {
  unlink(call);
  if (call.match !== undefined) unlink(call.match);
}

/** Undoes `lift`, in the reverse order. */
function unlift(call: Node): void {
  if (call.match !== undefined) relink(call.match);
  relink(call);
}

function unlink(node: Node): void {
  node.previous!.next = node.next;
  if (node.next !== undefined) node.next.previous = node.previous;
}

function relink(node: Node): void {
  node.previous!.next = node;
  if (node.next !== undefined) node.next.previous = node;
}

const WORD = 32;
const FULL = 0xffff_ffff;

/** The operations that have taken effect: bits, those of unknown outcome in words of their own, and a hash of them. */
class DoneSet {
  readonly #words: Uint32Array;
  /** Where the words of unknown outcomes begin. */
  readonly #lostStart: number;
  readonly #returned: number;
  #hash = 0;

  constructor(returned: number, lost: number) {
    this.#returned = returned;
    this.#lostStart = Math.ceil(returned / WORD);
    this.#words = new Uint32Array(this.#lostStart + Math.ceil(lost / WORD));
  }

  get hash(): number {
    return this.#hash;
  }

  add(id: number): void {
    this.#flip(id);
  }

  remove(id: number): void {
    this.#flip(id);
  }

  #flip(id: number): void {
    const bit = id < this.#returned ? id : this.#lostStart * WORD + (id - this.#returned);
    const word = Math.floor(bit / WORD);
    this.#words[word] = this.#words[word]! ^ (1 << (bit % WORD));
    this.#hash ^= mix(bit + 1);
  }

  /** The set in few words: operations finish in about the order in which they were called. */
  copy(): Uint32Array {
    let from = 0;
    while (from < this.#lostStart && this.#words[from] === FULL) from++;
    let to = this.#lostStart;
    while (to > from && this.#words[to - 1] === 0) to--;
    const copy = new Uint32Array(1 + (to - from) + this.#words.length - this.#lostStart);
    copy[0] = from;
    copy.set(this.#words.subarray(from, to), 1);
    copy.set(this.#words.subarray(this.#lostStart), 1 + to - from);
    return copy;
  }
}

function sameWords(left: Uint32Array, right: Uint32Array): boolean {
  return left.length === right.length && left.every((word, index) => word === right[index]);
}

/** 32 bits in which every bit of `value` has a say (the end of MurmurHash3). */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return mixed ^ (mixed >>> 16);
}
