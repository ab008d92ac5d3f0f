/** What was used for a flag, and where it came from, for people. */
export interface ShownValue {
  /** Without its dashes. */
  readonly flag: string;
  /** As it was given, without secrets; undefined where there is none. */
  readonly value: string | undefined;
  /** `--batch-window`, `NETSY_BATCH_WINDOW`, or `default`. */
  readonly source: string;
}

/** Flags whose whole value nobody is to see. */
const SECRET_NAME = /secret|password|passphrase|token$|credential/;
/** Not a secret: a kind of token, and paths. */
const NOT_SECRET: ReadonlySet<string> = new Set(['auth-token']);
const HIDDEN = '(hidden)';

/** A flag's value as it may be shown: who signs in to a URL, and a URL's query, are left out. */
export function shownValue(flag: string, text: string): string {
  if (SECRET_NAME.test(flag) && !NOT_SECRET.has(flag)) return HIDDEN;
  return withoutUsers(text).replaceAll(/\?[^\s,]*/g, `?${HIDDEN}`);
}

/** Any text as it may be shown: who signs in to the URLs in it is left out. */
export function withoutUsers(text: string): string {
  return text.replaceAll(/\/\/[^/@\s]*@/g, `//${HIDDEN}@`);
}
