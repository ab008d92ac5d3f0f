import type { PhaseResult } from '../scenarios/phase.ts';
import { groupBy, median } from './statistics.ts';

export interface WriteVerdict {
  readonly passed: boolean;
  /** Whether the scenarios of both bars were run; without them `passed` says little. */
  readonly complete: boolean;
  /** One line each: what was asked, what was measured. */
  readonly lines: readonly string[];
}

/** Largest median latency ÷ median PUT at the fixed rate. */
const openLoopRatioMax = 1.5;
/** Share of the due requests that must be answered for the rate to count as held. */
const heldShare = 0.99;
/** Writes per second with 500 in flight. */
const closedLoopMin = 3000;
/** A slow store whose median is this much over what was asked for is itself what is slow. */
const storeLateMax = 1.15;

/**
 * Holds the median figures of `server` against the bars: at 2,000 writes/s p50 below 1.5 × the
 * median PUT; with 500 in flight at least 3,000 writes/s. Bars whose scenario didn't run are said
 * to be open and don't fail.
 */
export function verdictOf(server: string, results: readonly PhaseResult[]): WriteVerdict {
  const writes = results.filter(
    (result) => result.server === server && result.scenario === 'kube' && result.operation !== 'get',
  );
  const open = groupBy(
    writes.filter(({ pace }) => 'rate' in pace && pace.rate === 2000),
    (one) => one.phase,
  );
  const closed = groupBy(
    writes.filter(({ pace }) => 'inFlight' in pace && pace.inFlight === 500),
    (one) => one.phase,
  );
  const checks = [
    ...[...open].map(([phase, group]) => openLoopCheck(phase, group)),
    ...[...closed].map(([phase, group]) => closedLoopCheck(phase, group)),
  ];
  if (open.size === 0) checks.push({ passed: true, line: 'open   2,000 writes/s was not run' });
  if (closed.size === 0) checks.push({ passed: true, line: 'open   500 in flight was not run' });
  const complete = open.size > 0 && closed.size > 0;
  return { passed: checks.every(({ passed }) => passed), complete, lines: checks.map(({ line }) => line) };
}

interface Check {
  readonly passed: boolean;
  readonly line: string;
}

function openLoopCheck(phase: string, group: readonly PhaseResult[]): Check {
  const ratio = median(group.map((one) => one.p50OverPut ?? Number.POSITIVE_INFINITY)) ?? Number.NaN;
  const rate = median(group.map((one) => one.throughputPerSecond)) ?? Number.NaN;
  const storeLate = median(
    group.map(({ store }) => (store ? store.putLatency.p50Ms / store.putMedianMsConfigured : Number.NaN)),
  )!;
  const passed = ratio < openLoopRatioMax && rate >= 2000 * heldShare;
  const warning =
    storeLate > storeLateMax
      ? `; CAUTION: the slow store's own median was ${storeLate.toFixed(2)} × what was asked`
      : '';
  return {
    passed,
    line: `${word(passed)} ${phase}: p50 ÷ median PUT ${ratio.toFixed(2)} (bar < ${openLoopRatioMax}), ${rate.toFixed(0)} writes/s held${warning}`,
  };
}

function closedLoopCheck(phase: string, group: readonly PhaseResult[]): Check {
  const rate = median(group.map((one) => one.throughputPerSecond)) ?? Number.NaN;
  const passed = rate >= closedLoopMin;
  return {
    passed,
    line: `${word(passed)} ${phase}: ${rate.toFixed(0)} writes/s (bar ≥ ${closedLoopMin})`,
  };
}

const word = (passed: boolean): string => (passed ? 'pass  ' : 'FAIL  ');
