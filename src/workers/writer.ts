import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../shared/base/clock.ts';
import { recordPauses } from '../shared/base/pauses.ts';
import type { MeasuredThread } from './contract/thread.ts';
import type { WriterData, WriterReply, WriterRequest } from './contract/writer.ts';
import { failureMessage } from './failure.ts';
import { WriterState } from './sqlite/state.ts';

/** How long a disk that refused a write is left alone before the next try. */
const DISK_RETRY_MS = 1000;

const port = parentPort!;
const state = new WriterState(workerData as WriterData, reply, () => systemClock.monotonicMs());
const { cacheFile } = workerData as WriterData;
let idling = false;
let hasFailed = false;

function reply(message: WriterReply, transfer: ArrayBuffer[]): void {
  port.postMessage(message, transfer);
}

/**
 * Ends the process's trust in this worker: the main thread stops the server, the log has everything. Nothing more is
 * done to the cache, which another worker may open when this one has ended.
 */
function guard(work: () => void): void {
  try {
    work();
  } catch (error) {
    const name = error instanceof Error ? error.name : 'Error';
    hasFailed = true;
    state.abandon();
    reply({ type: 'failed', message: failureMessage(error, cacheFile), name }, []);
    port.close();
  }
}

/** Work that can wait runs between messages, one small piece at a time. */
function scheduleIdle(): void {
  if (idling || hasFailed || !state.hasIdleWork) return;
  idling = true;
  const step = (): void => {
    idling = false;
    if (hasFailed || !state.hasIdleWork) return;
    guard(() => state.idle());
    scheduleIdle();
  };
  if (state.inTrouble) systemClock.after(DISK_RETRY_MS, step);
  else setImmediate(step);
}

port.on('message', (request: WriterRequest) => {
  if (hasFailed) return;
  guard(() => state.handle(request));
  if (request.type === 'close') port.close();
  else scheduleIdle();
});
const { pauses } = workerData as MeasuredThread;
if (pauses !== undefined) recordPauses(pauses, systemClock);
guard(() => state.open());
