import { fileURLToPath } from 'node:url';
import { type Child, startChild } from '../processes.ts';
import type { LoadCommand, LoadEvent } from './protocol.ts';

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

  /** Resolves with the answer to `command`; `onWindow` hears of the measured window's two ends. */
  do(
    command: LoadCommand,
    onWindow: (end: 'window-start' | 'window-end') => void = () => {},
  ): Promise<LoadEvent & { is: 'done' }> {
    return new Promise((resolve, reject) => {
      this.onEvent = (event) => {
        if (event.is === 'done') resolve(event);
        else if (event.is === 'failed') reject(new Error(event.reason));
        else onWindow(event.is);
      };
      this.child.process.send(command);
    });
  }
}
