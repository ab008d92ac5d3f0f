/** The middle value, or the mean of the two in the middle; undefined of nothing. */
export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

/** In the order in which the groups first come. */
export function groupBy<T, Key>(items: readonly T[], key: (item: T) => Key): Map<Key, T[]> {
  const groups = new Map<Key, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/**
 * How much a series grew once it had settled: the median of its last fifth ÷ that of its second. 1 is flat; undefined
 * of fewer than ten values.
 */
export function growth(values: readonly number[]): number | undefined {
  if (values.length < 10) return undefined;
  const fifth = values.length / 5;
  const early = median(values.slice(Math.floor(fifth), Math.floor(2 * fifth)));
  const late = median(values.slice(Math.floor(4 * fifth)));
  return early === undefined || late === undefined || early === 0 ? undefined : late / early;
}
