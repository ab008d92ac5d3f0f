import type { Verification } from './load/verify.ts';
import type { Series } from './measure/sampler.ts';
import type { Audit } from './programs/program.ts';
import type { PhaseResult } from './scenarios/phase.ts';
import type { ScenarioName } from './scenarios/scenario.ts';
import type { HttpResult } from './tools/http.ts';
import type { K6Result } from './tools/k6.ts';

/** What one server's round ended with. */
export interface RoundCheck {
  readonly server: string;
  readonly round: number;
  readonly scenario: ScenarioName;
  readonly verification: Verification;
}

/** What a program's own check of its store has shown after a run. */
export interface StoreAudit extends Audit {
  readonly server: string;
  readonly round: number;
  readonly scenario: ScenarioName;
}

/** CPU and memory while one scenario ran on one server in one round. */
export interface Trace {
  readonly server: string;
  readonly scenario: ScenarioName;
  readonly variant: string;
  readonly round: number;
  readonly series: readonly Series[];
  /** When each step began. */
  readonly steps: readonly { readonly atSeconds: number; readonly name: string }[];
}

/** All that a run of the bench has found out. */
export interface Outcome {
  readonly results: PhaseResult[];
  readonly checks: RoundCheck[];
  readonly audits: StoreAudit[];
  readonly http: HttpResult[];
  readonly k6: K6Result[];
  readonly traces: Trace[];
  readonly stores: Set<string>;
  /** Rounds that didn't come to their end, and why. */
  readonly broken: string[];
  /** Programs and tools that are not here, and why. */
  readonly leftOut: string[];
}

export function emptyOutcome(): Outcome {
  return {
    results: [],
    checks: [],
    audits: [],
    http: [],
    k6: [],
    traces: [],
    stores: new Set(),
    broken: [],
    leftOut: [],
  };
}
