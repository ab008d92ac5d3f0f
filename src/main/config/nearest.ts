/** The one of `words` that `typed` was meant to be: it differs in a third of its letters at most. Undefined: none does. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  let [best, least]: [string | undefined, number] = [undefined, typed.length / 3];
  for (const word of words) {
    const edits = distance(typed, word);
    if (edits <= least && edits < (best === undefined ? Number.POSITIVE_INFINITY : least))
      [best, least] = [word, edits];
  }
  return best;
}

/** How many letters must be put in, left out, changed, or swapped with the next, to make `b` of `a`. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwapped ? before[j - 2]! + 1 : changed;
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, changed, swapped));
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
