import { setMaxListeners } from 'node:events';

/**
 * An AbortController whose signal any number of operations may wait for at a time. Of an ordinary one's node warns, on
 * standard error, when more than ten do.
 */
export function sharedAbort(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
