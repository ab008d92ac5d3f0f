import type { Pace } from './generator.ts';
import type { KeyShape } from './key-space.ts';
import type { Verification } from './verify.ts';
import type { WatchReport } from './watchers.ts';
import type { ForeignKeys, OperationName } from './workload.ts';

/** What the bench tells a load process; one at a time, each answered by `done` or `failed`. */
export type LoadCommand =
  | {
      readonly do: 'open';
      readonly host: string;
      readonly port: number;
      readonly connections: number;
      readonly shape: KeyShape;
    }
  | { readonly do: 'fill'; readonly keys: number; readonly inFlight: number }
  | { readonly do: 'watch'; readonly watchers: number }
  | {
      readonly do: 'phase';
      readonly operation: OperationName;
      readonly pace: Pace;
      readonly warmupMs: number;
      readonly measureMs: number;
      readonly drainMs: number;
      readonly foreign?: ForeignKeys;
    }
  | { readonly do: 'verify' };

/** What one load process says of a phase; histograms in HdrHistogram's compressed base64. */
export interface PhaseReport {
  readonly completedInWindow: number;
  readonly windowMs: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly latencies: string;
  readonly lateness: string;
  /** When this process watches. */
  readonly watch?: WatchReport;
}

export type LoadEvent =
  | { readonly is: 'window-start' }
  | { readonly is: 'window-end' }
  | { readonly is: 'done'; readonly phase?: PhaseReport; readonly verification?: Verification }
  | { readonly is: 'failed'; readonly reason: string };
