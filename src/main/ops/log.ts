import { type DestinationStream, destination, pino } from 'pino';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import type { Log, LogFields } from '../../shared/base/log.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal';
export type LogFormat = 'json' | 'console';

export interface LogOptions {
  /** The lowest level that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where lines go; default stderr, written at once so that a crash loses none. */
  readonly output?: DestinationStream;
  readonly clock?: Clock;
}

const LEVEL_NAMES: Record<number, string> = { 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };
const STDERR = 2;

/**
 * The program's log. `json` is one object per line with etcd's names for level, time and text (`level`, `ts`, `msg`);
 * `console` is `time LEVEL text name=value …`, for people. An `Error` among the fields is written with its stack.
 */
export function createLog(options: LogOptions): Log {
  const output = options.output ?? destination({ fd: STDERR, sync: true });
  const clock = options.clock ?? systemClock;
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"ts":"${new Date(clock.wallMs()).toISOString()}"`,
      formatters: { level: (label, number) => ({ level: options.format === 'json' ? label : number }) },
    },
    options.format === 'json' ? output : consoleOutput(output),
  );
  return {
    debug: (message, fields) => logger.debug(plainFields(fields), message),
    info: (message, fields) => logger.info(plainFields(fields), message),
    warn: (message, fields) => logger.warn(plainFields(fields), message),
    error: (message, fields) => logger.error(plainFields(fields), message),
  };
}

/** Makes values that JSON has no word for readable; anything else stays as it is. */
function plainFields(fields: LogFields | undefined): LogFields {
  const plain: LogFields = {};
  for (const [name, value] of Object.entries(fields ?? {})) plain[name] = plainValue(value);
  return plain;
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) return value.stack ?? value.message;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value;
}

/** Turns pino's JSON lines into lines for people. */
function consoleOutput(output: DestinationStream): DestinationStream {
  return { write: (line) => output.write(consoleLine(line)) };
}

function consoleLine(line: string): string {
  const { level, ts, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = (LEVEL_NAMES[Number(level)] ?? String(level)).padEnd(5);
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${consoleValue(value)}`);
  return `${String(ts)} ${name} ${String(msg)}${pairs.join('')}\n`;
}

/** Bare where it can be read back so, else quoted; a stack keeps its lines. */
function consoleValue(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  if (/\n {4}at /.test(value)) return value;
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
