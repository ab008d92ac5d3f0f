import '../shared/base/base64.ts';
import { sharedAbort } from '../shared/base/abort.ts';
import { systemClock } from '../shared/base/clock.ts';
import { errorCode, errorMessage } from '../shared/base/errors.ts';
import { systemRandom } from '../shared/base/random.ts';
import { type CommandOutput, FAILED, outputOf, UNREADABLE } from './command-output.ts';
import type { DoctorOrder } from './config/command-doctor.ts';
import { commandNamed, parseCommandLine } from './config/command-line.ts';
import { asksForJson } from './config/output-form.ts';
import type { Settings } from './config/settings.ts';
import type { RestoreStores } from './restore-command.ts';
import type { ObjectStore, ReadableStore } from './store/store.ts';

/** What a command needs is loaded when it is run: the others don't wait for a server's modules, nor a server for theirs. */

/** The store of a command, to look at. */
async function readable(
  { command, settings }: { readonly command: string; readonly settings: Settings },
  url = settings.store,
): Promise<ReadableStore> {
  const [{ openToRead }, { storeOptions }] = await Promise.all([
    import('./command-store.ts'),
    import('./probed-store.ts'),
  ]);
  return openToRead(url, storeOptions(settings), output(command));
}

async function probed(settings: Settings, url = settings.store): Promise<ObjectStore> {
  const [{ openProbed }, { Metrics }] = await Promise.all([
    import('./probed-store.ts'),
    import('./ops/metrics.ts'),
  ]);
  return openProbed(settings, new Metrics(), url);
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

async function bothStores(settings: Settings): Promise<RestoreStores> {
  const { storeOptions } = await import('./probed-store.ts');
  return { options: storeOptions(settings), openProbed: (url) => probed(settings, url) };
}

async function main(): Promise<void> {
  const commandLine = parseCommandLine(process.argv.slice(2), process.env);
  switch (commandLine.command) {
    case 'print':
      process.stdout.write(commandLine.text);
      return;
    case 'inspect': {
      const { inspectFiles } = await import('./inspect.ts');
      const show = (line: string): boolean => process.stdout.write(`${line}\n`);
      process.exitCode = await inspectFiles([...commandLine.files], show);
      return;
    }
    case 'import': {
      const { runImport } = await import('./import-command.ts');
      const openSource = (url: string): Promise<ReadableStore> => readable(commandLine, url);
      const open = (): Promise<ObjectStore> => probed(commandLine.settings);
      return runImport(commandLine, { open, openSource }, output('import'));
    }
    case 'verify': {
      const { runVerify } = await import('./verify-command.ts');
      process.exitCode = await runVerify(commandLine, () => readable(commandLine), output('verify'));
      return;
    }
    case 'status': {
      const { runStatus } = await import('./status-command.ts');
      return runStatus(commandLine, () => readable(commandLine), output('status').result);
    }
    case 'restore': {
      const signal = interrupted('restore');
      const { runRestore } = await import('./restore-command.ts');
      return runRestore(commandLine, await bothStores(commandLine.settings), output('restore'), signal);
    }
    case 'config': {
      const { runConfigCheck } = await import('./config-command.ts');
      return runConfigCheck(commandLine, output('config').result);
    }
    case 'doctor':
      return doctor(commandLine);
    case 'fork': {
      const signal = interrupted('fork');
      const { runFork } = await import('./fork-command.ts');
      return runFork(commandLine, await bothStores(commandLine.settings), output('fork'), signal);
    }
    case 'serve': {
      const { runServe } = await import('./serve-command.ts');
      return runServe(commandLine.settings, commandLine.warnings);
    }
  }
}

async function doctor(order: DoctorOrder): Promise<void> {
  const [{ runDoctor }, { openStore }, { storeOptions }] = await Promise.all([
    import('./doctor-command.ts'),
    import('./store/open.ts'),
    import('./probed-store.ts'),
  ]);
  const isWell = await runDoctor(order, {
    clock: systemClock,
    random: systemRandom,
    openStore: () => openStore(order.settings.store, storeOptions(order.settings)),
    result: output('doctor').result,
  });
  if (!isWell) process.exitCode = FAILED;
}

/** Whoever reads what a command prints may stop early, as `head` does. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : FAILED);
});

main().catch((error: unknown) => {
  const message = errorMessage(error);
  // A package compiled for another Node: what to do comes in its last lines.
  const [line = ''] = (
    errorCode(error) === 'ERR_DLOPEN_FAILED' ? message.replaceAll('\n', ' ') : message
  ).split('\n', 1);
  const argv = process.argv.slice(2);
  const command = commandNamed(argv);
  const json = asksForJson(argv, process.env);
  // For a person the line names what to change, which may be no matter of the command.
  outputOf(json ? command : undefined, json, systemClock).note(line, 'error');
  process.exit(command === 'verify' ? UNREADABLE : FAILED);
});
