/** Prometheus' text, read back. */

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The metrics of one name; a histogram's samples end in `_bucket`, `_sum` and `_count`. */
export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** Reads `text/plain; version=0.0.4`. Throws when a line is not of that form. */
export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, { type: string; help: string; samples: Sample[] }>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const head = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (head !== null) {
      const [, kind, name, rest] = head as unknown as [string, string, string, string];
      const family = families.get(name) ?? { type: 'untyped', help: '', samples: [] };
      families.set(name, { ...family, ...(kind === 'HELP' ? { help: rest } : { type: rest }) });
      continue;
    }
    const sample = parseSample(line);
    const base = sample.name.replace(/_(?:bucket|sum|count)$/, '');
    const family = families.get(sample.name) ?? families.get(base);
    if (family === undefined) throw new Error(`no TYPE before: ${line}`);
    family.samples.push(sample);
  }
  return families;
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (match === null) throw new Error(`not a sample: ${line}`);
  const [, name, inner = '', text] = match as unknown as [string, string, string | undefined, string];
  const pairs = [...inner.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]);
  const value = text === '+Inf' ? Number.POSITIVE_INFINITY : Number(text);
  return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value };
}

/** The value of the one sample that has these labels; 0 if there is none. */
export function valueIn(
  families: ReadonlyMap<string, Family>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const base = families.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '');
  const found = families
    .get(base)
    ?.samples.filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  return found?.reduce((sum, { value }) => sum + value, 0) ?? 0;
}
