import { isWhole } from '../load/verify.ts';
import type { BenchOptions } from '../options.ts';
import type { Outcome } from '../outcome.ts';
import type { Standing } from './standing.ts';
import { errorLines } from './text.ts';
import { verdictOf } from './write-verdict.ts';

interface Judgement {
  readonly passed: boolean;
  /** PASS or FAIL, and why. */
  readonly text: string;
  /** One line per error, and per bar of the writes. */
  readonly lines: readonly string[];
}

/**
 * Whether a run is as it must be. The two bars of the writes are netsy's on the slow store, whenever the scenario
 * kube was run; the table's are the suite's: a run of one scenario is not held to the others.
 */
export function judge(
  options: BenchOptions,
  outcome: Outcome,
  standing: readonly Standing[],
  interrupted: boolean,
): Judgement {
  const errors = [...errorLines(outcome), ...outcome.broken];
  const whole =
    outcome.checks.every(({ verification }) => isWhole(verification)) &&
    outcome.audits.every((audit) => audit.whole);
  const barred =
    options.endpoint === undefined &&
    options.store === 'slow-s3' &&
    options.server.includes('netsy') &&
    options.scenario.includes('kube');
  const writes = barred ? verdictOf('netsy', outcome.results) : undefined;
  const missed = options.suite ? standing.filter(({ verdict }) => verdict === 'missed').length : 0;
  const problems = [
    ...(errors.length > 0 ? ['errors'] : []),
    ...(whole ? [] : ['acknowledged writes not read back, or a store that is not whole']),
    ...(writes?.passed === false ? ['a bar was missed'] : []),
    ...(missed > 0 ? [`${missed} figure(s) of the table missed their bar`] : []),
    ...(interrupted ? ['interrupted'] : []),
  ];
  const bars = writes?.complete
    ? 'both bars held'
    : 'the bars were not judged (netsy on slow-s3, 2000/s and 500 in flight)';
  const text =
    problems.length === 0
      ? `PASS: no errors, every acknowledged write read back, ${bars}`
      : `FAIL: ${problems.join(', ')}`;
  const lines = (writes?.lines ?? []).map((line) => `${line} [netsy]`);
  return { passed: problems.length === 0, text, lines: [...errors, ...lines] };
}
