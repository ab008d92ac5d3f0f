import { REGISTERS, type RegisterOperation, type RegisterOutput } from '../checker/etcd-models.ts';
import { checkLinearizable } from '../checker/linearizability.ts';
import { maySayThePast } from './checks.ts';
import type { KeyAnswer, Operation } from './history.ts';
import type { LogModel } from './log-model.ts';
import type { World } from './world.ts';

/**
 * The same history once more, by a checker that searches for an order of each key's operations by itself: of the log it
 * is told only what became of writes whose answers were lost, and which keys leases took with them.
 */
export function checkHistory(world: World, model: LogModel): void {
  const known = world.history.operations.filter((operation) => !maySayThePast(world, operation));
  const history = known.flatMap((operation) => registersOf(model, operation));
  const verdict = checkLinearizable(REGISTERS, [...history, ...deletesOfLeases(world, model)]);
  world.count(`history: ${verdict.kind}`);
  if (verdict.kind !== 'not linearizable') return;
  const { partition, stuck } = verdict;
  world.violation(`the history of ${partition} is not linearizable: ${JSON.stringify(stuck)} has no place`);
}

function registersOf(model: LogModel, operation: Operation): RegisterOperation[] {
  const { asked, told, outcome, takenStep: call, answeredStep } = operation;
  if (call < 0 || outcome === 'refused') return [];
  if (outcome === 'unknown') return learned(model, operation);
  const { revision, count, keys } = told!;
  const output: RegisterOutput = count > 0 ? { kind: 'written', revision } : { kind: 'refused' };
  const times = { call, return: answeredStep };
  switch (asked.kind) {
    case 'put':
      return [{ input: { kind: 'put', key: asked.key, value: asked.value }, output, ...times }];
    case 'delete':
      return [{ input: { kind: 'delete', key: asked.key }, output, ...times }];
    case 'swap': {
      const { key, other, expected, value } = asked;
      const swap = { input: { kind: 'swap', key, expected, value }, output, ...times } as const;
      if (count === 0) return [swap, read(key, keys, times)];
      if (key === other) return [swap];
      return [swap, { input: { kind: 'put', key: other, value }, output, ...times }];
    }
    case 'range': {
      if (asked.serializable || asked.revision !== 0) return [];
      const { from, to } = asked;
      const names = to === undefined ? [from] : model.keys.filter((key) => key >= from && key < to);
      return names.map((key) => read(key, keys, times));
    }
    default:
      return [];
  }
}

function read(
  key: string,
  found: readonly KeyAnswer[],
  times: { call: number; return: number },
): RegisterOperation {
  const state = found.find((answer) => answer.key === key);
  const output: RegisterOutput =
    state === undefined
      ? { kind: 'absent' }
      : { kind: 'found', value: state.value, modRevision: state.modRevision, version: state.version };
  return { input: { kind: 'get', key }, output, ...times };
}

/** What a write of unknown fate came to; nothing if it is not in the log. */
function learned(model: LogModel, { asked, takenStep: call }: Operation): RegisterOperation[] {
  if (asked.kind !== 'put' && asked.kind !== 'swap') return [];
  const { key, value } = asked;
  const [revision] = model.revisionsOf(value);
  if (revision === undefined) return [];
  const happened = {
    output: { kind: 'written', revision },
    call,
    return: Number.POSITIVE_INFINITY,
  } as const;
  if (asked.kind === 'put') return [{ input: { kind: 'put', key, value }, ...happened }];
  const { other, expected } = asked;
  const swap = { input: { kind: 'swap', key, expected, value }, ...happened } as const;
  return key === other ? [swap] : [swap, { input: { kind: 'put', key: other, value }, ...happened }];
}

/** Deletes that no client was told of: leases that ended, and deletes of unknown fate. */
function deletesOfLeases({ history }: World, model: LogModel): RegisterOperation[] {
  const told = new Set(
    history.operations
      .filter(({ asked, told }) => asked.kind === 'delete' && told?.count === 1)
      .map((operation) => operation.told?.revision),
  );
  return model.revisions
    .filter(({ revision }) => !told.has(revision))
    .flatMap(({ revision, changes }) =>
      changes
        .filter(({ deleted }) => deleted)
        .map(({ key }) => ({
          input: { kind: 'delete', key: Buffer.from(key).toString() } as const,
          output: { kind: 'written', revision } as const,
          call: -1,
          return: Number.POSITIVE_INFINITY,
        })),
    );
}
