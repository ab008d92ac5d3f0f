/** One flag of the command line; the tables of them are in `flags.ts`. */
export interface Flag<T> {
  readonly name: string;
  readonly group: Group;
  /** How the value is shown in the help, e.g. `<duration>`. */
  readonly form: string;
  /** Read like a given value; undefined when the flag has none. */
  readonly default?: string;
  readonly help: string;
  readonly parse: (text: string) => T;
}

type Group =
  | 'Serving'
  | 'Limits'
  | 'TLS'
  | 'Auth'
  | 'Store and cache'
  | 'S3'
  | 'Writes'
  | 'Reads and watches'
  | 'History'
  | 'Snapshots and retention'
  | 'Log';

/** A flag that always has a value. */
export interface DefaultedFlag<T> extends Flag<T> {
  readonly default: string;
}

/** A flag that may stay without a value. */
export function optional<T>(
  group: Group,
  name: string,
  form: string,
  parse: (text: string) => T,
  help: string,
): Flag<T> {
  return { group, name, form, parse, help };
}

/** A flag that has a value when it is not given. */
export function flag<T>(
  group: Group,
  name: string,
  form: string,
  parse: (text: string) => T,
  help: string,
  defaultText: string,
): DefaultedFlag<T> {
  return { group, name, form, parse, help, default: defaultText };
}
