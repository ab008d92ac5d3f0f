import type { Counter, Histogram } from '../../shared/base/metering.ts';
import type { Metrics } from './metrics.ts';

const MS_PER_SECOND = 1000;

/** Counts what the commit pipeline does. */
export function commitMeter(metrics: Metrics): {
  stage(stage: 'gather' | 'evaluate' | 'upload' | 'wait turn' | 'reply', ms: number): void;
  batch(requests: number, bytes: number): void;
} {
  const { gather, evaluate, upload, wait_turn, reply } = metrics.commitStageSeconds;
  const stages = { gather, evaluate, upload, 'wait turn': wait_turn, reply };
  return {
    stage: (stage, ms) => stages[stage].observe(ms / MS_PER_SECOND),
    batch: (requests) => metrics.batchRequests.observe(requests),
  };
}

/** Counts the calls to the object store. */
export function storeMeter(metrics: Metrics): {
  observe(call: { operation: string; outcome: string; latencyMs: number }): void;
} {
  const counterOf = remembering((name: string): Counter => {
    const [operation, outcome] = name.split(' ') as [string, string];
    return metrics.storeRequests(operation, outcome);
  });
  const histogramOf = remembering((operation: string): Histogram => metrics.storeRequestSeconds(operation));
  return {
    observe({ operation, outcome, latencyMs }) {
      counterOf(`${operation} ${outcome}`).add(1);
      histogramOf(operation).observe(latencyMs / MS_PER_SECOND);
    },
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
