import { fileURLToPath } from 'node:url';
import { type Child, startChild } from '../processes.ts';
import type { LoadCommand, LoadEvent } from './protocol.ts';

/** A phase knows its own time; a fill or a reading back of a million keys takes minutes. */
function answerWithinMs(command: LoadCommand): number {
  if (command.do !== 'phase') return 15 * 60_000;
  return command.warmupMs + command.measureMs + 2 * command.drainMs + 60_000;
}

/** The bench's side of one load process. Invariant: at most one command is under way. */
export class LoadProcess {
  readonly child: Child;
  private onEvent: (event: LoadEvent) => void = () => {};

  private constructor(child: Child) {
    this.child = child;
    child.process.on('message', (event: LoadEvent) => this.onEvent(event));
    child.process.once('exit', (code) => {
      this.onEvent({ is: 'failed', reason: `the load process ended with ${code}: ${child.lastWords()}` });
    });
  }

  static async start(): Promise<LoadProcess> {
    const entry = fileURLToPath(new URL('./load-main.js', import.meta.url));
    return new LoadProcess(await startChild('load', process.execPath, [entry], { ipc: true }));
  }

  /**
   * Resolves with the answer to `command`; `onWindow` hears of the measured window's two ends. Rejects when it fails,
   * or takes so long that a server must have stopped to answer.
   */
  do(
    command: LoadCommand,
    onWindow: (end: 'window-start' | 'window-end') => void = () => {},
  ): Promise<LoadEvent & { is: 'done' }> {
    return new Promise((resolve, reject) => {
      const tooLate = (): void =>
        reject(new Error(`${command.do}: no end after ${answerWithinMs(command)} ms`));
      const timer = setTimeout(tooLate, answerWithinMs(command));
      this.onEvent = (event) => {
        if (event.is === 'window-start' || event.is === 'window-end') {
          onWindow(event.is);
          return;
        }
        clearTimeout(timer);
        if (event.is === 'done') resolve(event);
        else reject(new Error(event.reason));
      };
      this.child.process.send(command);
    });
  }
}
