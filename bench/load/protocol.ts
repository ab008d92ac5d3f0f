import type { Pace } from './generator.ts';
import type { Verification } from './verify.ts';
import type { OperationName } from './workload.ts';

/** What the bench tells a load process; one at a time, each answered by `done` or `failed`. */
export type LoadCommand =
  | {
      readonly do: 'open';
      readonly host: string;
      readonly port: number;
      readonly connections: number;
      /** Every key of this process starts with it. */
      readonly prefix: string;
      readonly seed: number;
    }
  | {
      readonly do: 'phase';
      readonly operation: OperationName;
      readonly pace: Pace;
      readonly warmupMs: number;
      readonly measureMs: number;
      readonly drainMs: number;
    }
  | { readonly do: 'verify' };

/** What one load process says of a phase; histograms in HdrHistogram's compressed base64. */
export interface PhaseReport {
  readonly completedInWindow: number;
  readonly windowMs: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly latencies: string;
  readonly lateness: string;
}

export type LoadEvent =
  | { readonly is: 'window-start' }
  | { readonly is: 'window-end' }
  | { readonly is: 'done'; readonly phase?: PhaseReport; readonly verification?: Verification }
  | { readonly is: 'failed'; readonly reason: string };
