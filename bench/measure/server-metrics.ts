/** `/metrics` as text; undefined when the server has no such page. */
export async function serverMetrics(host: string, port: number): Promise<string | undefined> {
  try {
    const answer = await fetch(`http://${host}:${port}/metrics`, { signal: AbortSignal.timeout(5000) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    // No HTTP there.
    return undefined;
  }
}

/** One line of it: `name{labels} value`. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All samples of one name, in their order. */
export function samplesIn(text: string, name: string): Sample[] {
  return [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))].map(
    ([, labels = '', value]) => ({
      labels: Object.fromEntries(
        [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, text]) => [label!, text!]),
      ),
      value: Number(value),
    }),
  );
}
