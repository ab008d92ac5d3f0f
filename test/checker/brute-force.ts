import type { Model, Operation } from './linearizability.ts';

/** Whether some order of the operations is one that the model accepts: tries every order. For a handful of operations. */
export function bruteForce<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): boolean {
  const parts = model.partition?.(history) ?? [['all', history] as const];
  return [...parts].every(([, part]) => goesOn(model, model.init(), part));
}

function goesOn<State, Input, Output>(
  model: Model<State, Input, Output>,
  state: State,
  rest: readonly Operation<Input, Output>[],
): boolean {
  if (rest.every((operation) => operation.return === Number.POSITIVE_INFINITY)) return true;
  return rest.some((next) => {
    const others = rest.filter((operation) => operation !== next);
    if (others.some((operation) => operation.return < next.call)) return false;
    return model.step(state, next.input, next.output).some((after) => goesOn(model, after, others));
  });
}
