import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../shared/base/clock.ts';
import { recordPauses } from '../shared/base/pauses.ts';
import type { ReaderData, ReaderReply, ReaderRequest } from './contract/reader.ts';
import type { MeasuredThread } from './contract/thread.ts';
import { failureMessage } from './failure.ts';
import { stepBack } from './priority.ts';
import { ReaderState } from './sqlite/reader-state.ts';

const port = parentPort!;
const state = new ReaderState(workerData as ReaderData);
const { cacheFile } = workerData as ReaderData;
let idling = false;
let closed = false;

/** The packed bytes of a reply, which are handed over rather than copied. */
function packedBytes(reply: ReaderReply): ArrayBuffer[] {
  if (reply.type === 'read') return [reply.replies.buffer as ArrayBuffer];
  if (reply.type === 'response') return [reply.response.buffer as ArrayBuffer];
  if (reply.type === 'piece') return [reply.piece.kvs.buffer as ArrayBuffer];
  if (reply.type === 'replay' && reply.replay.kind === 'events') {
    return [reply.replay.events.buffer as ArrayBuffer];
  }
  return [];
}

function reply(message: ReaderReply): void {
  port.postMessage(message, packedBytes(message));
}

/** Ends the process's trust in this worker. */
function guard(work: () => void): void {
  try {
    work();
  } catch (error) {
    closed = true;
    reply({ type: 'failed', message: failureMessage(error, cacheFile) });
    port.close();
  }
}

/** Work that takes long runs between messages, one small piece at a time. */
function scheduleIdle(): void {
  if (idling || closed || !state.hasIdleWork) return;
  idling = true;
  setImmediate(() => {
    idling = false;
    if (!closed) guard(() => state.idle());
    scheduleIdle();
  });
}

/** A list may take as long as it takes. */
const LISTS_NICE = 10;

const { pauses, lists } = workerData as MeasuredThread & ReaderData;
if (lists) stepBack(LISTS_NICE);
if (pauses !== undefined) recordPauses(pauses, systemClock);

port.on('message', (request: ReaderRequest) => {
  if (request.type === 'close') {
    closed = true;
    state.close();
    port.close();
    return;
  }
  guard(() => state.handle(request, reply));
  scheduleIdle();
});
