import { Command, CommanderError, Option } from 'commander';
import { errorMessage } from '../../shared/base/errors.ts';
import { ETCD_VERSION, NETSY_VERSION } from '../../shared/model/version.ts';
import { type Given, settingsOf } from './check.ts';
import { COMPLETION, type CompletionOrder, SHELLS } from './command-completion.ts';
import { CONFIG, type ConfigOrder } from './command-config.ts';
import { DOCTOR, type DoctorOrder } from './command-doctor.ts';
import { FORK, type ForkOrder } from './command-fork.ts';
import { IMPORT, type ImportOrder } from './command-import.ts';
import { INSPECT, type InspectOrder } from './command-inspect.ts';
import { RESTORE, type RestoreOrder } from './command-restore.ts';
import { STATUS, type StatusOrder } from './command-status.ts';
import { VERIFY, type VerifyOrder } from './command-verify.ts';
import { type CompletedCommand, completionScript } from './completion.ts';
import type { Flag } from './flag.ts';
import { environmentName, FLAGS, type FlagKey, type FlagValues } from './flags.ts';
import { HELP_COLUMNS, helpItem } from './help-item.ts';
import { nearest } from './nearest.ts';
import { type Settings, SettingsError } from './settings.ts';
import { type ShownValue, shownValue } from './shown-values.ts';
import type { Subcommand, Words } from './subcommand.ts';
import { ValueError } from './values.ts';

/** What a subcommand's words ask for. */
type Order =
  | InspectOrder
  | ImportOrder
  | RestoreOrder
  | ForkOrder
  | VerifyOrder
  | StatusOrder
  | ConfigOrder
  | DoctorOrder
  | CompletionOrder;

/** What the command line asks for. */
export type CommandLine =
  | { readonly command: 'serve'; readonly settings: Settings; readonly warnings: readonly string[] }
  | Exclude<Order, CompletionOrder>
  /** Help or version: print the text to stdout and end with code 0. */
  | { readonly command: 'print'; readonly text: string };

const SUBCOMMANDS: readonly Subcommand<Order>[] = [
  ...[CONFIG, DOCTOR, STATUS, VERIFY, INSPECT, IMPORT, RESTORE, FORK, COMPLETION],
];

export type Environment = Readonly<Record<string, string | undefined>>;

const FLAG_KEYS = Object.keys(FLAGS) as FlagKey[];
/** Flags that are true when they stand alone, and what they take. */
const SWITCHES: ReadonlySet<string> = new Set(
  FLAG_KEYS.filter((key) => FLAGS[key].form === '[true|false]').map((key) => `--${FLAGS[key].name}`),
);
const BOOLEANS: ReadonlySet<string> = new Set(['true', 'false']);

const VERSIONS = `${JSON.stringify({ netsy: NETSY_VERSION, etcd: ETCD_VERSION })}\n`;

const EXAMPLES = `
Every flag also has an environment variable: NETSY_ and its name in capitals,
such as NETSY_BATCH_WINDOW. A flag wins over its variable; of a flag given
twice the last one counts. Durations are written 100ms, 2s or 1m30s; sizes
4MiB, 512KiB or plain bytes.

Examples:
  netsy
      serve on 127.0.0.1:2379, keep everything in ./data; in another terminal:
      etcdctl put greeting hello
  netsy --store s3://bucket/prefix --s3-region eu-central-1
  netsy --store s3://bucket --s3-endpoint http://127.0.0.1:9000 \\
        --s3-addressing path
  netsy --listen-client-urls https://0.0.0.0:2379 \\
        --advertise-client-urls https://db.example:2379 \\
        --cert-file server.crt --key-file server.key \\
        --trusted-ca-file clients-ca.crt
  netsy import snapshot.db --store s3://bucket/prefix
      move an etcd snapshot into an empty store
  netsy restore --store s3://bucket/prefix --to-time 2026-03-01T12:00:00Z \\
                --into s3://bucket/back
      a new store, as the old one was then
  netsy fork --store file:///var/lib/netsy/store \\
             --into file:///var/lib/netsy/try
      a new store that goes on from where the old one is now
`;

/**
 * Reads the words after the program's name, and the environment. Throws `SettingsError` with one line that
 * says what to change.
 */
export function parseCommandLine(given: readonly string[], environment: Environment): CommandLine {
  const argv = valuesJoined(given[0] === 'help' ? wordsForHelp(given.slice(1)) : given);
  let printed = '';
  let called: { subcommand: Subcommand<Order>; parsed: Command } | undefined;
  const program = serveCommand((text) => {
    printed += text;
  });
  for (const subcommand of SUBCOMMANDS) {
    addSubcommand(program, subcommand, (parsed) => {
      called = { subcommand, parsed };
    });
  }
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      const versions = error.code === 'commander.version' && argv.includes('--json');
      return { command: 'print', text: versions ? VERSIONS : `${printed.trimEnd()}\n` };
    }
    throw new SettingsError(oneLine(error, argv));
  }
  if (called !== undefined) {
    const order = called.subcommand.order(wordsOf(program, called.parsed, environment));
    return order.command === 'completion' ? completion(program, order) : order;
  }
  const [stray] = program.args;
  if (stray !== undefined) {
    throw new SettingsError(notACommand(stray));
  }
  const read = readSettings(program.opts<Record<string, unknown>>(), environment);
  return { command: 'serve', settings: read.settings, warnings: warningsOf(read, environment) };
}

function notACommand(word: string): string {
  const names = SUBCOMMANDS.map(({ name }) => name);
  const meant = nearest(word, names);
  if (meant !== undefined) return `"${word}" is not a command (Did you mean ${meant}?)`;
  return `"${word}" is not a command; use one of ${names.join(', ')}, or only flags to serve`;
}

/** `netsy help [COMMAND]` is `netsy [COMMAND] --help`. */
function wordsForHelp(words: readonly string[]): readonly string[] {
  const [name] = words;
  if (name === undefined || name.startsWith('-')) return ['--help'];
  if (SUBCOMMANDS.every((subcommand) => subcommand.name !== name)) throw new SettingsError(notACommand(name));
  return [name, '--help'];
}

/** `--insecure` with a value joined to it: the word behind is a value only if it could be one, and may name a command. */
function valuesJoined(argv: readonly string[]): readonly string[] {
  const joined: string[] = [];
  for (const word of argv) {
    const before = joined.at(-1);
    if (BOOLEANS.has(word) && SWITCHES.has(before ?? '')) joined[joined.length - 1] = `${before}=${word}`;
    else joined.push(word);
  }
  return joined.map((word) => (SWITCHES.has(word) ? `${word}=true` : word));
}

/** The command that these words name, also where they can't be understood; undefined: they serve. */
export function commandNamed(given: readonly string[]): string | undefined {
  const argv = valuesJoined(given);
  const names = new Set(SUBCOMMANDS.map(({ name }) => name));
  const valued = new Set(FLAG_KEYS.map((key) => `--${FLAGS[key].name}`));
  return argv.find((word, index) => names.has(word) && !valued.has(argv[index - 1] ?? ''));
}

function wordsOf(program: Command, parsed: Command, environment: Environment): Words {
  const options = parsed.opts<Record<string, unknown>>();
  const given = { ...program.opts<Record<string, unknown>>(), ...options };
  return {
    operands: parsed.args,
    options,
    settings: (over = {}) => readSettings({ ...given, ...over }, environment).settings,
    effective: () => {
      const read = readSettings(given, environment);
      const values = FLAG_KEYS.map((key) => shownOf(key, given, environment));
      return { settings: read.settings, warnings: warningsOf(read, environment), values };
    },
  };
}

function shownOf(
  key: FlagKey,
  given: Readonly<Record<string, unknown>>,
  environment: Environment,
): ShownValue {
  const flag: Flag<unknown> = FLAGS[key];
  const source = sourceOf(key, given, environment);
  return {
    flag: flag.name,
    value: source && shownValue(flag.name, source.text),
    source: source?.given === true ? source.label : 'default',
  };
}

function completion(program: Command, { shell }: CompletionOrder): CommandLine {
  const commands = [program, ...program.commands].map((command): CompletedCommand => {
    const flags = command.options.map(({ long, flags: form, description }) => {
      const words = /\[?([a-z|]+\|[a-z|]+)\]?/.exec(form.replace(/^.*? /, ''))?.[1]?.split('|') ?? [];
      const values = words.length > 0 ? words : (CHOICES[long ?? ''] ?? []);
      const isPath = form.includes('<path>');
      const takesValue = /[<[]/.test(form);
      return { name: long ?? '', help: description, takesValue, mayLack: form.includes('['), values, isPath };
    });
    const name = command === program ? '' : command.name();
    return { name, help: command.description(), flags, words: OPERANDS[name] ?? [] };
  });
  return { command: 'print', text: completionScript(shell, commands) };
}

/** The first operands that are words of ours. */
const OPERANDS: Readonly<Record<string, readonly string[]>> = { config: ['check'], completion: SHELLS };
/** What flags take that take one of a few words. */
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  '--log-level': ['debug', 'info', 'warn', 'error', 'panic', 'fatal'],
  '--log-format': ['json', 'console'],
  '--s3-addressing': ['auto', 'path', 'virtual'],
  '--auto-compaction-mode': ['periodic', 'revision'],
  '--hedge-after': ['auto', 'p95', 'off'],
  '--retention': ['forever'],
  '--auth-token': ['simple'],
};

/** The settings alone, for callers that only serve. Throws `SettingsError`. */
export function parseSettings(argv: readonly string[], environment: Environment): Settings {
  const parsed = parseCommandLine(argv, environment);
  if (parsed.command !== 'serve') throw new SettingsError(`"${parsed.command}" is not a way to serve`);
  return parsed.settings;
}

function serveCommand(print: (text: string) => void): Command {
  const program = new Command('netsy')
    .description('An etcd v3 server that keeps every acknowledged write in object storage.')
    .usage(['[flags]', ...SUBCOMMANDS.map(({ name, usage }) => `${name} ${usage}`)].join('\n       netsy '))
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {}, getOutHelpWidth: () => HELP_COLUMNS })
    .configureHelp({ formatItem: helpItem, subcommandTerm: (command) => command.name() })
    .version(`netsy ${NETSY_VERSION}\netcd API ${ETCD_VERSION}`, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .enablePositionalOptions()
    .allowExcessArguments(true)
    .addHelpText('after', EXAMPLES)
    .action(() => {});
  for (const key of FLAG_KEYS) program.addOption(optionOf(FLAGS[key]));
  return program;
}

function addSubcommand(
  program: Command,
  subcommand: Subcommand<Order>,
  action: (parsed: Command) => void,
): void {
  const { name, usage, flags } = subcommand;
  const command = program.command(name).usage(usage).allowExcessArguments(false);
  subcommand.describe(command);
  command.action(() => action(command));
  for (const key of flags) command.addOption(optionOf(FLAGS[key]));
}

function optionOf(flag: Flag<unknown>): Option {
  const shown = flag.default === undefined ? '' : ` (default: ${flag.default})`;
  return new Option(`--${flag.name} ${flag.form}`, flag.help + shown).helpGroup(`${flag.group}:`);
}

/** commander's message on one line, without its "error: ", and with a way out. */
function oneLine(error: unknown, argv: readonly string[]): string {
  const line = errorMessage(error)
    .replace(/^error: /, '')
    .replaceAll('\n', ' ');
  if (error instanceof CommanderError && error.code === 'commander.missingArgument') {
    const called = SUBCOMMANDS.find(({ name }) => name === commandNamed(argv));
    if (called !== undefined) return `${called.name}: ${called.missingOperand}`;
  }
  if (!line.startsWith('unknown option') || line.includes('Did you mean')) return line;
  const word = argv.find((argument) => line.includes(`'${argument.split('=')[0]}'`)) ?? '';
  const twin = FLAG_KEYS.find((key) => word.split('=')[0] === `-${FLAGS[key].name}`);
  if (twin !== undefined) return `${line} (Did you mean --${FLAGS[twin].name}?)`;
  return `${line}; see ${['netsy', commandNamed(argv) ?? [], '--help'].flat().join(' ')}`;
}

interface Read {
  readonly settings: Settings;
  readonly given: Given;
}

function readSettings(options: Readonly<Record<string, unknown>>, environment: Environment): Read {
  const given = new Map<FlagKey, string>();
  const values: Partial<Record<FlagKey, unknown>> = {};
  for (const key of FLAG_KEYS) {
    const source = sourceOf(key, options, environment);
    if (source === undefined) continue;
    if (source.given) given.set(key, source.label);
    values[key] = readValue(FLAGS[key], source.label, source.text);
  }
  return { settings: settingsOf(values as FlagValues, given), given };
}

interface Source {
  readonly label: string;
  readonly text: string;
  readonly given: boolean;
}

/** The flag, else its variable, else its default. As in etcd, an empty variable counts as not set. */
function sourceOf(
  key: FlagKey,
  options: Readonly<Record<string, unknown>>,
  environment: Environment,
): Source | undefined {
  const flag: Flag<unknown> = FLAGS[key];
  const option = options[key];
  if (typeof option === 'string') return { label: `--${flag.name}`, text: option, given: true };
  const variable = environmentName(flag.name);
  const text = environment[variable];
  if (text !== undefined && text !== '') return { label: variable, text, given: true };
  return flag.default === undefined
    ? undefined
    : { label: `--${flag.name}`, text: flag.default, given: false };
}

function readValue(flag: Flag<unknown>, label: string, text: string): unknown {
  if (text === '') throw new SettingsError(`${label}: is empty; give a value or leave it out`);
  try {
    return flag.parse(text);
  } catch (error) {
    if (error instanceof ValueError) {
      // What is refused may be a URL with a password in it.
      const shown = error.message.replaceAll(text, shownValue(flag.name, text));
      throw new SettingsError(`${label}: ${shown}`);
    }
    throw error;
  }
}

/** Variables that Kubernetes sets in every pod beside a Service named netsy. */
const SERVICE_VARIABLE = /^NETSY_(?:SERVICE_|PORT)/;

/** What is allowed and yet probably not meant. */
function warningsOf({ settings, given }: Read, environment: Environment): string[] {
  const warnings: string[] = [];
  const plain = settings.listenClientUrls.find((url) => url.startsWith('http:'));
  const certificate = given.get('certFile');
  if (certificate !== undefined && plain !== undefined) {
    warnings.push(`${certificate}: ${plain} does not use TLS; the certificate is not used there`);
  }
  const insecure = given.get('insecure');
  if (insecure !== undefined && settings.insecure) {
    warnings.push(
      `${insecure}: whoever is between this server and its clients can read and change everything`,
    );
  }
  const known = new Set(FLAG_KEYS.map((key) => environmentName(FLAGS[key].name)));
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith('NETSY_') || known.has(variable) || SERVICE_VARIABLE.test(variable)) continue;
    const meant = nearest(variable, [...known]);
    const way = meant === undefined ? '; see netsy --help' : ` (Did you mean ${meant}?)`;
    warnings.push(`${variable}: is not a setting of this server, and is not used${way}`);
  }
  return warnings;
}
