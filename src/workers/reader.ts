import { parentPort, workerData } from 'node:worker_threads';
import type { ReaderData, ReaderReply, ReaderRequest } from './contract/reader.ts';
import { ReaderState } from './sqlite/reader-state.ts';

const port = parentPort!;
const state = new ReaderState(workerData as ReaderData);

/** The packed bytes of a reply, which are handed over rather than copied. */
function packedBytes(reply: ReaderReply): ArrayBuffer[] {
  if (reply.type === 'read') return [reply.replies.buffer as ArrayBuffer];
  if (reply.type === 'piece') return [reply.piece.kvs.buffer as ArrayBuffer];
  if (reply.type === 'replay' && reply.replay.kind === 'events') {
    return [reply.replay.events.buffer as ArrayBuffer];
  }
  return [];
}

port.on('message', (request: ReaderRequest) => {
  if (request.type === 'close') {
    state.close();
    port.close();
    return;
  }
  try {
    const reply = state.handle(request);
    port.postMessage(reply, packedBytes(reply));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ type: 'failed', message } satisfies ReaderReply);
    port.close();
  }
});
