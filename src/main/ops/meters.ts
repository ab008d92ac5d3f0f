import type { Metrics } from './metrics.ts';

const MS_PER_SECOND = 1000;

/** Counts what the commit pipeline does. */
export function commitMeter(metrics: Metrics): {
  stage(stage: 'gather' | 'evaluate' | 'upload' | 'wait turn' | 'reply', ms: number): void;
  batch(requests: number, bytes: number): void;
  held(ms: number): void;
} {
  const { gather, evaluate, upload, wait_turn, reply } = metrics.commitStageSeconds;
  const stages = { gather, evaluate, upload, 'wait turn': wait_turn, reply };
  const { walFsyncSeconds } = metrics.etcd;
  return {
    stage: (stage, ms) => {
      stages[stage].observe(ms / MS_PER_SECOND);
      if (stage === 'upload') walFsyncSeconds.observe(ms / MS_PER_SECOND);
    },
    batch: (requests, bytes) => {
      metrics.batchRequests.observe(requests);
      metrics.batchBytes.observe(bytes);
    },
    held: (ms) => metrics.putBudgetWaitSeconds.observe(ms / MS_PER_SECOND),
  };
}

/** One call to the object store. */
interface StoreCall {
  readonly operation: string;
  readonly outcome: string;
  readonly latencyMs: number;
  readonly bytes: number;
  readonly billed: boolean;
  /** Where it failed: what the store or the system said. */
  readonly code?: string | undefined;
}

/** Counts the calls to the object store. */
export function storeMeter({ store }: Metrics): { observe(call: StoreCall): void } {
  const counterOf = remembering((name: string) => {
    const [operation, outcome] = name.split(' ') as [string, string];
    return store.requests(operation, outcome);
  });
  const kindOf = remembering((operation: string) => ({
    seconds: store.seconds(operation),
    bytes: store.bytes(operation),
  }));
  return {
    observe({ operation, outcome, latencyMs, bytes, billed, code }) {
      counterOf(`${operation} ${outcome}`).add(1);
      const kind = kindOf(operation);
      kind.seconds.observe(latencyMs / MS_PER_SECOND);
      kind.bytes.add(bytes);
      store.asked(operation, bytes, billed);
      if (code !== undefined) store.failed(operation, code);
    },
  };
}

/** Counts the requests that uploads of chunks are made of. */
export function uploadMeter({
  store,
}: Metrics): (attempt: { readonly request: string; readonly outcome: string }) => void {
  const counterOf = remembering((name: string) => {
    const [request, outcome] = name.split(' ') as [string, string];
    return store.uploadAttempts(request, outcome);
  });
  return ({ request, outcome }) => {
    counterOf(`${request} ${outcome}`).add(1);
    if (request !== 'hedge') return;
    store.uploadsHedged.add(1);
    if (outcome === 'created') store.hedgesWon.add(1);
  };
}

/** Calls `make` once per name. */
function remembering<T>(make: (name: string) => T): (name: string) => T {
  const made = new Map<string, T>();
  return (name) => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const value = make(name);
    made.set(name, value);
    return value;
  };
}
