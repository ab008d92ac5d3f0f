import { putsOf } from './billing.ts';
import type { PutBudget } from './put-budget.ts';
import type { ObjectStore } from './store.ts';

/** The same store, with everything that S3 bills as a PUT counted as it is sent. A list is not, though S3 bills it so. */
export function budgetedStore(store: ObjectStore, budget: PutBudget): ObjectStore {
  return {
    url: store.url,
    get: (...of) => store.get(...of),
    getRange: (...of) => store.getRange(...of),
    putIfAbsent: (...of) => {
      budget.sent(1);
      return store.putIfAbsent(...of);
    },
    put: (...of) => {
      budget.sent(1);
      return store.put(...of);
    },
    list: (...of) => store.list(...of),
    delete: (...of) => store.delete(...of),
    putMultipart: (key, parts, signal) => store.putMultipart(key, counted(parts, budget), signal),
    close: () => store.close(),
  };
}

async function* counted(
  parts: AsyncIterable<Uint8Array>,
  budget: PutBudget,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  let puts = putsOf(bytes);
  budget.sent(puts);
  for await (const part of parts) {
    bytes += part.length;
    const now = putsOf(bytes);
    if (now > puts) budget.sent(now - puts);
    puts = now;
    yield part;
  }
}
