/** What the rooms of this program log through; `main.ts` hands in the real one (pino). */
export type LogFields = Record<string, unknown>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Drops everything; for tests and tools. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
