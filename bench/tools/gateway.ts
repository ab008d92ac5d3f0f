/** A gateway that hangs must not hold up the bench. */
const ANSWER_WITHIN_MS = 15_000;

/** Asks the JSON gateway; rejects when it doesn't answer with 200. */
async function range(
  endpoint: string,
  body: Readonly<Record<string, unknown>>,
): Promise<{ readonly count?: string; readonly kvs?: readonly { readonly version: string }[] }> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const request = { method: 'POST', body: JSON.stringify(body), signal };
  const answer = await fetch(`http://${endpoint}/v3/kv/range`, request).catch((error: unknown) => {
    throw new Error(`the gateway does not answer: ${String(error)}`);
  });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as { count?: string; kvs?: { version: string }[] };
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** How many keys start with `prefix`. */
export async function countOf(endpoint: string, prefix: string): Promise<number> {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  const body = { key: base64(prefix), range_end: end.toString('base64'), count_only: true };
  return Number((await range(endpoint, body)).count ?? 0);
}

/** How often `key` was written since it was made; 0 when there is none. */
export async function versionOf(endpoint: string, key: string): Promise<number> {
  return Number((await range(endpoint, { key: base64(key) })).kvs?.[0]?.version ?? 0);
}
