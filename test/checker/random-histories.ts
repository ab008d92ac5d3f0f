import type { Seeded } from '../support/seeded.ts';
import type { RegisterInput, RegisterOperation, RegisterOutput } from './etcd-models.ts';

/** Random histories of registers with etcd's revisions: right ones, and ones with a change. */

export interface HistoryOptions {
  readonly operations: number;
  /** Each has one call under way. */
  readonly clients: number;
  readonly keys: number;
  /** How many of the answers are lost; half of those calls have their effect, some of them late. */
  readonly lost: number;
}

interface Held {
  readonly value: string;
  readonly modRevision: number;
  readonly version: number;
}

/** An atomic store of registers. */
class Registers {
  readonly #held = new Map<string, Held>();
  #revision = 1;

  answer(input: RegisterInput): RegisterOutput {
    const held = this.#held.get(input.key);
    switch (input.kind) {
      case 'get':
        return held === undefined ? { kind: 'absent' } : { kind: 'found', ...held };
      case 'delete':
        if (held === undefined) return { kind: 'refused' };
        this.#held.delete(input.key);
        return { kind: 'written', revision: ++this.#revision };
      case 'swap':
        if ((held?.modRevision ?? 0) !== input.expected) return { kind: 'refused' };
        return this.#put(input.key, input.value);
      case 'put':
        return this.#put(input.key, input.value);
    }
  }

  #put(key: string, value: string): RegisterOutput {
    const version = (this.#held.get(key)?.version ?? 0) + 1;
    this.#held.set(key, { value, modRevision: ++this.#revision, version });
    return { kind: 'written', revision: this.#revision };
  }

  modRevision(key: string): number {
    return this.#held.get(key)?.modRevision ?? 0;
  }
}

interface Call {
  readonly input: RegisterInput;
  readonly call: number;
  output: RegisterOutput | undefined;
  state: 'called' | 'happened' | 'lost';
}

/** What clients of an atomic store saw whose calls are called, happen and return at random moments. */
export function simulatedHistory(random: Seeded, options: HistoryOptions): RegisterOperation[] {
  const store = new Registers();
  const history: RegisterOperation[] = [];
  const clients: (Call | undefined)[] = Array.from({ length: options.clients }, () => undefined);
  const late: Call[] = [];
  let called = 0;
  for (let now = 1; history.length < options.operations; now++) {
    if (late.length > 0 && random.integer(0, 10) === 0) store.answer(late.pop()!.input);
    const client = random.integer(0, clients.length);
    const call = clients[client];
    if (call === undefined) {
      if (called++ < options.operations)
        clients[client] = {
          input: randomInput(random, store, options.keys, called),
          call: now,
          output: undefined,
          state: 'called',
        };
    } else if (call.state === 'called') {
      if (random.fraction() < options.lost) {
        clients[client] = undefined;
        if (random.integer(0, 2) === 0) late.push(call);
        history.push({
          input: call.input,
          output: undefined,
          call: call.call,
          return: Number.POSITIVE_INFINITY,
        });
      } else {
        call.output = store.answer(call.input);
        call.state = 'happened';
      }
    } else {
      clients[client] = undefined;
      history.push({ input: call.input, output: call.output, call: call.call, return: now });
    }
  }
  return history;
}

function randomInput(random: Seeded, store: Registers, keys: number, number: number): RegisterInput {
  const key = `key-${random.integer(0, keys)}`;
  const kind = random.integer(0, 10);
  if (kind < 4) return { key, kind: 'get' };
  if (kind < 7) return { key, kind: 'put', value: `v${number}` };
  if (kind < 8) return { key, kind: 'delete' };
  const guess = random.integer(0, 4) === 0 ? random.integer(0, 10) : store.modRevision(key);
  return { key, kind: 'swap', expected: guess, value: `v${number}` };
}

/** The history with one operation changed: its answer, its times, or that it is there at all. */
export function changedInOnePlace(
  random: Seeded,
  history: readonly RegisterOperation[],
): RegisterOperation[] {
  const victim = random.integer(0, history.length);
  return history.flatMap((operation, index) =>
    index === victim ? changed(random, operation, history) : [operation],
  );
}

function changed(
  random: Seeded,
  operation: RegisterOperation,
  history: readonly RegisterOperation[],
): RegisterOperation[] {
  const end = 4 * history.length;
  switch (random.integer(0, 5)) {
    case 0:
      return [];
    case 1:
      return [{ ...operation, call: random.integer(0, Math.min(operation.return, end)) }];
    case 2:
      if (operation.output === undefined) return [operation];
      return [{ ...operation, return: operation.call + random.integer(0, end) }];
    case 3: {
      const other = random.pick(history);
      return other.output === undefined ? [operation] : [{ ...operation, output: other.output }];
    }
    default:
      return [{ ...operation, output: nudged(random, operation.output) }];
  }
}

function nudged(random: Seeded, output: RegisterOutput | undefined): RegisterOutput | undefined {
  const by = random.pick([-1, 1]);
  if (output?.kind === 'written') return { ...output, revision: output.revision + by };
  if (output?.kind !== 'found') return random.pick([{ kind: 'absent' }, { kind: 'refused' }] as const);
  if (random.integer(0, 2) === 0) return { ...output, modRevision: output.modRevision + by };
  return { ...output, version: output.version + by };
}
