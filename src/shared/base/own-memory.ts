import { MessageChannel, type MessagePort } from 'node:worker_threads';

/**
 * Memory that is given back as soon as its bytes are of no more use, instead of when V8 finds it: V8 takes what
 * ArrayBuffers hold for a reason to mark its whole heap, and lists make many times the heap's size a second
 * (docs/decisions/packed-lists.md).
 */

/** Those of which nobody else has a view. */
const alone = new WeakSet<ArrayBufferLike>();
/** What is handed over to nobody is freed. */
let nowhere: MessagePort | undefined;

/** Says that `bytes`, and views made of it, are all there is of its memory. */
export function ownsMemory(bytes: Uint8Array): void {
  alone.add(bytes.buffer);
}

/** Frees the memory of `bytes`, which has no bytes from then on, if `ownsMemory` was said of it. */
export function freeMemory({ buffer }: Uint8Array): void {
  if (!alone.delete(buffer)) return;
  nowhere ??= closedPort();
  nowhere.postMessage(undefined, [buffer as ArrayBuffer]);
}

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}
