import type { Target } from './generator.ts';
import type { KeySpace } from './key-space.ts';
import { createFill } from './workload.ts';

/** Creates `keys` keys with `inFlight` requests at any time. Rejects at the first that fails. */
export async function fill(
  targets: readonly Target[],
  space: KeySpace,
  keys: number,
  inFlight: number,
): Promise<void> {
  const workload = createFill(space, keys);
  let sent = 0;
  const worker = async (): Promise<void> => {
    for (let operation = workload.next(); operation; operation = workload.next()) {
      const { method, message, settle } = operation;
      const target = targets[sent++ % targets.length]!;
      const wrong = await new Promise<string | undefined>((resolve) => {
        target.unary(method, message, (error, answer) => resolve(settle(error, answer)));
      });
      if (wrong !== undefined) throw new Error(`the fill failed: ${wrong}`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}
