import '../shared/base/base64.ts';
import { sharedAbort } from '../shared/base/abort.ts';
import { systemClock } from '../shared/base/clock.ts';
import { errorMessage } from '../shared/base/errors.ts';
import { type Log, silentLog } from '../shared/base/log.ts';
import { recordPauses } from '../shared/base/pauses.ts';
import { systemRandom } from '../shared/base/random.ts';
import { ETCD_VERSION, NETSY_VERSION } from '../shared/model/version.ts';
import { type CommandOutput, outputOf } from './command-output.ts';
import { openToRead } from './command-store.ts';
import { SlowWrites } from './commit/slow-writes.ts';
import { commandNamed, parseCommandLine } from './config/command-line.ts';
import { asksForJson } from './config/output-form.ts';
import type { Settings } from './config/settings.ts';
import { runConfigCheck } from './config-command.ts';
import { runDoctor } from './doctor-command.ts';
import { runFork } from './fork-command.ts';
import { runImport } from './import-command.ts';
import { inspectFiles } from './inspect.ts';
import { createLog } from './ops/log.ts';
import { commitMeter, storeMeter } from './ops/meters.ts';
import { Metrics } from './ops/metrics.ts';
import { type RestoreStores, runRestore } from './restore-command.ts';
import { Server } from './server.ts';
import { runStatus } from './status-command.ts';
import { meteredStore } from './store/metered.ts';
import { type OpenStoreOptions, openReferences, openStore } from './store/open.ts';
import { probeStore } from './store/probe.ts';
import type { ObjectStore, ReadableStore } from './store/store.ts';
import { runVerify, UNREADABLE } from './verify-command.ts';

const FAILED = 1;
/** After the drain: files and threads are closed by then, or the process ends without. */
const CLOSING_MS_MAX = 5_000;
/** The store may start at the same time as this program does. */
const PROBE_RETRY_MS = 60_000;

function storeOptions({ s3 }: Settings, log: Log): OpenStoreOptions {
  return { clock: systemClock, random: systemRandom, environment: process.env, log, ...s3 };
}

function readable(settings: Settings, url = settings.store): Promise<ReadableStore> {
  return openToRead(url, storeOptions(settings, silentLog));
}

/** Opens the store and proves that it can hold the log. */
async function openProbed(
  settings: Settings,
  metrics: Metrics,
  url = settings.store,
  log = silentLog,
): Promise<ObjectStore> {
  const options = storeOptions(settings, log);
  const opened = await openStore(url, options);
  const store = meteredStore(opened, storeMeter(metrics), systemClock);
  await probeStore(store, systemRandom, { clock: systemClock, retryForMs: PROBE_RETRY_MS, log });
  return openReferences(store, options, log);
}

async function serve(settings: Settings, warnings: readonly string[]): Promise<void> {
  const log = createLog({ level: settings.logLevel, format: settings.logFormat });
  for (const warning of warnings) log.warn(warning);
  log.info('starting', {
    version: NETSY_VERSION,
    etcd: ETCD_VERSION,
    store: settings.store,
    node: process.version,
  });
  const metrics = new Metrics();
  const slowWrites = new SlowWrites(settings.slowWriteLog, {
    clock: systemClock,
    log,
    meter: metrics.slowWrites,
  });
  let serving: Server | undefined;
  const stop = async (): Promise<void> => {
    await serving?.stop();
    slowWrites.flush();
  };
  stopOnSignals(stop, settings.drainTimeoutMs, log);
  recordPauses(metrics.pauses.add('main'), systemClock);
  const store = await openProbed(settings, metrics, settings.store, log);
  const server = new Server({
    settings,
    store,
    metrics,
    meter: { ...commitMeter(metrics), finished: (batch) => slowWrites.finished(batch) },
    clock: systemClock,
    random: systemRandom,
    log,
    fatal: (error) => {
      log.error('stopping: this process can not go on', { error: error.message });
      server.abort();
      slowWrites.flush();
      // Replies that were handed to the network may still leave.
      setImmediate(() => process.exit(FAILED));
    },
  });
  const role = await server.start();
  serving = server;
  const { addresses: clients, metricsAddresses: metricsUrls } = server;
  log.info('serving', { clients, ...(metricsUrls.length > 0 && { metrics: metricsUrls }), role });
}

/**
 * The first SIGTERM or SIGINT drains, a second one ends at once. From the start on, when there is nothing to drain
 * yet: as a container's first process, one without a handler would not be ended by them.
 */
function stopOnSignals(drain: () => Promise<void>, drainTimeoutMs: number, log: Log): void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(FAILED);
    stopping = true;
    log.info('stopping', { signal });
    systemClock.after(drainTimeoutMs + CLOSING_MS_MAX, () => {
      log.error('stopping took too long: ended at once; nothing that was acknowledged is lost');
      process.exit(FAILED);
    });
    drain().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error('stopping failed', { error: String(error) });
        process.exit(FAILED);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** What a command says: results to standard output, how it goes to standard error. */
function output(command: string): CommandOutput {
  return outputOf(command, asksForJson(process.argv.slice(2), process.env), systemClock);
}

/** Aborted by the first SIGTERM or SIGINT, so that nothing is left half done; a second one ends at once. */
function interrupted(command: string): AbortSignal {
  const controller = sharedAbort();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(FAILED);
    controller.abort(new Error(`${command} was interrupted: run it again`));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return controller.signal;
}

function bothStores(settings: Settings): RestoreStores {
  return {
    options: storeOptions(settings, silentLog),
    openProbed: (url) => openProbed(settings, new Metrics(), url),
  };
}

async function main(): Promise<void> {
  const commandLine = parseCommandLine(process.argv.slice(2), process.env);
  switch (commandLine.command) {
    case 'print':
      process.stdout.write(commandLine.text);
      return;
    case 'inspect':
      process.exitCode = await inspectFiles([...commandLine.files], (line) =>
        process.stdout.write(`${line}\n`),
      );
      return;
    case 'import':
      return runImport(
        commandLine,
        {
          open: () => openProbed(commandLine.settings, new Metrics()),
          openSource: (url) => readable(commandLine.settings, url),
        },
        output('import'),
      );
    case 'verify':
      process.exitCode = await runVerify(commandLine, () => readable(commandLine.settings), output('verify'));
      return;
    case 'status':
      return runStatus(commandLine, () => readable(commandLine.settings), output('status').result);
    case 'restore':
      return runRestore(
        commandLine,
        bothStores(commandLine.settings),
        output('restore'),
        interrupted('restore'),
      );
    case 'config':
      return runConfigCheck(commandLine, output('config').result);
    case 'doctor': {
      const isWell = await runDoctor(commandLine, {
        clock: systemClock,
        random: systemRandom,
        openStore: () => openStore(commandLine.settings.store, storeOptions(commandLine.settings, silentLog)),
        result: output('doctor').result,
      });
      if (!isWell) process.exitCode = FAILED;
      return;
    }
    case 'fork':
      return runFork(commandLine, bothStores(commandLine.settings), output('fork'), interrupted('fork'));
    case 'serve':
      return serve(commandLine.settings, commandLine.warnings);
  }
}

/** Whoever reads what a command prints may stop early, as `head` does. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : FAILED);
});

main().catch((error: unknown) => {
  const [line = ''] = errorMessage(error).split('\n', 1);
  const argv = process.argv.slice(2);
  const command = commandNamed(argv);
  const json = asksForJson(argv, process.env);
  // For a person the line names what to change, which may be no matter of the command.
  outputOf(json ? command : undefined, json, systemClock).note(line, 'error');
  process.exit(command === 'verify' ? UNREADABLE : FAILED);
});
