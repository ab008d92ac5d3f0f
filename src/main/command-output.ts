import type { Clock } from '../shared/base/clock.ts';
import type { Log, LogFields } from '../shared/base/log.ts';
import { withoutUsers } from './config/shown-values.ts';

/** What the commands that work on stores say while they do. */

const EVERY_MS = 2000;

/** The exit code of what was refused, or did not come to its end. */
export const FAILED = 1;
/**
 * The exit code of `netsy verify` for a store that it can't read, and for words that can't be understood: a script must
 * not take them for damage.
 */
export const UNREADABLE = 2;

export interface CommandOutput {
  /** Standard output: what came out. */
  result(text: string): void;
  /** Standard error: how it goes, and what is wrong. */
  note(text: string, level?: NoteLevel, fields?: LogFields): void;
}

type NoteLevel = 'info' | 'error';

/** Of a command, or of serving if there is none. With `json` each note is an object, of the form of the log's lines. */
export function outputOf(command: string | undefined, json: boolean, clock: Clock): CommandOutput {
  const program = command === undefined ? 'netsy' : `netsy ${command}`;
  return {
    result: (text) => void process.stdout.write(`${text}\n`),
    note: (text, level = 'info', fields = {}) => {
      const msg = withoutUsers(text);
      const ts = new Date(clock.wallMs()).toISOString();
      const more = Object.keys(fields).length > 0 ? ` ${shownJson(fields)}` : '';
      const line = json ? shownJson({ level, ts, command, ...fields, msg }) : `${program}: ${msg}${more}`;
      process.stderr.write(`${line}\n`);
    },
  };
}

/** Whatever somebody typed may be in it: the URL of a store with a password. */
function shownJson(record: object): string {
  return JSON.stringify(record, (_key, value: unknown) =>
    typeof value === 'string' ? withoutUsers(value) : value,
  );
}

/** A log whose lines are notes. */
export function noteLog({ note }: CommandOutput): Log {
  const say = (message: string, fields?: LogFields): void => note(message, 'info', fields);
  return { debug: () => {}, info: say, warn: say, error: say };
}

/** Says every two seconds how far a work has come, and when it will end. */
export class Pace {
  readonly #clock: Clock;
  readonly #output: CommandOutput;
  readonly #begunMs: number;
  #shownMs: number;

  constructor(clock: Clock, output: CommandOutput) {
    this.#clock = clock;
    this.#output = output;
    this.#begunMs = clock.monotonicMs();
    this.#shownMs = this.#begunMs;
  }

  /** `part` is how much of the work is done, from 0 to 1; undefined when that is not known. */
  show(what: string, amount: { readonly records: number; readonly bytes: number }, part?: number): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#shownMs < EVERY_MS) return;
    this.#shownMs = now;
    const seconds = (now - this.#begunMs) / 1000;
    const left = part !== undefined && part > 0 ? `, ${Math.ceil((seconds * (1 - part)) / part)} s left` : '';
    this.#output.note(`${what}: ${amount.records} records, ${Math.round(amount.bytes)} bytes${left}`);
  }
}
