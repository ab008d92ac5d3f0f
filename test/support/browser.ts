import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'undici';
import { temporaryDirectory } from './netsy.ts';
import { logTail, startProcess, waitUntilReady } from './process.ts';

/** A page in headless Chromium that is spoken to by its DevTools protocol: windows of any size, and what is laid out. */
export interface Browser {
  /** Opens a URL in a window of so many CSS pixels, and resolves when `ready` is true there. */
  open(url: string, width: number, height: number, ready: string): Promise<void>;
  /** The value of an expression, as JSON can say it. */
  evaluate(expression: string): Promise<unknown>;
  close(): Promise<void>;
}

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
const LISTENS = /ws:\/\/([^/\s]+)\//;

/** Starts Chromium, which must be installed. */
export async function startBrowser(): Promise<Browser> {
  const profile = temporaryDirectory();
  const child = await startProcess({
    command: 'chromium',
    arguments: [...FLAGS, '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    logFile: join(profile, 'chromium.log'),
  });
  const host = (): string | undefined => LISTENS.exec(logTail(child.logFile, 100))?.[1];
  await waitUntilReady(child, async () => host() !== undefined);
  const tab = await fetch(`http://${host()}/json/new?about:blank`, { method: 'PUT' });
  const { webSocketDebuggerUrl } = (await tab.json()) as { webSocketDebuggerUrl: string };
  const socket = new WebSocket(webSocketDebuggerUrl);
  await once(socket, 'open');
  const waiting = new Map<number, (answer: { result?: unknown }) => void>();
  socket.addEventListener('message', ({ data }) => {
    const answer = JSON.parse(String(data)) as { id?: number; result?: unknown };
    waiting.get(answer.id ?? 0)?.(answer);
  });
  let last = 0;
  const call = (method: string, params: object): Promise<unknown> =>
    new Promise((resolve) => {
      waiting.set(++last, ({ result }) => resolve(result));
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  const evaluate = async (expression: string): Promise<unknown> => {
    const answer = await call('Runtime.evaluate', { expression, returnByValue: true });
    return (answer as { result: { value?: unknown } }).result.value;
  };
  return {
    open: async (url, width, height, ready) => {
      const size = { width, height, deviceScaleFactor: 1, mobile: width < 500 };
      await call('Emulation.setDeviceMetricsOverride', size);
      await call('Page.navigate', { url });
      while ((await evaluate(ready)) !== true) await sleep(50);
    },
    evaluate,
    close: async () => {
      socket.close();
      await child.stop();
    },
  };
}
