/**
 * The delays of a store that is far away: log-normal around a median, and a small share of
 * stragglers spread evenly over a wide range. One seed gives one list of delays, so two runs of
 * the bench put the same store in front of both programs.
 */

export interface DelaySettings {
  /** Median in milliseconds; 0 switches every delay off, stragglers too. */
  readonly medianMs: number;
  /** Standard deviation of the delay's natural logarithm. */
  readonly sigma: number;
  /** Share of requests, from 0 to 1, that are stragglers. */
  readonly tailShare: number;
  readonly tailMinMs: number;
  readonly tailMaxMs: number;
}

export const defaultDelay: DelaySettings = {
  medianMs: 20,
  sigma: 0.35,
  tailShare: 0.005,
  tailMinMs: 100,
  tailMaxMs: 400,
};

/**
 * An endless list of numbers in [0, 1) that depends on `seed` alone.
 * The generator is xorshift128 (Marsaglia, "Xorshift RNGs", 2003), its state filled by the
 * linear congruence of Numerical Recipes.
 */
export function seededFractions(seed: number): () => number {
  let fill = seed >>> 0;
  const next = (): number => {
    fill = (Math.imul(fill, 1664525) + 1013904223) >>> 0;
    return fill;
  };
  let [a, b, c, d] = [next(), next(), next(), next() | 1];
  const step = (): number => {
    let mixed = d ^ (d << 11);
    mixed ^= mixed >>> 8;
    [d, c, b] = [c, b, a];
    a = (mixed ^ b ^ (b >>> 19)) >>> 0;
    return a / 2 ** 32;
  };
  for (let skipped = 0; skipped < 16; skipped++) step();
  return step;
}

/**
 * A function that returns the next request's delay in milliseconds. Each call uses three
 * fractions, whatever comes out, so that a change of the tail leaves the other delays as they were.
 */
export function delayDraws(settings: DelaySettings, fraction: () => number): () => number {
  return () => {
    const straggler = fraction() < settings.tailShare;
    const first = fraction();
    const second = fraction();
    if (settings.medianMs === 0) return 0;
    if (straggler) return settings.tailMinMs + first * (settings.tailMaxMs - settings.tailMinMs);
    // Box and Muller's transform: two even fractions make one normal number.
    const normal = Math.sqrt(-2 * Math.log(1 - first)) * Math.cos(2 * Math.PI * second);
    return settings.medianMs * Math.exp(settings.sigma * normal);
  };
}
