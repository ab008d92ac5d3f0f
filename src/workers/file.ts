import { parentPort } from 'node:worker_threads';
import type { FileReply, FileRequest } from './contract/file.ts';
import { systemCalls } from './file/calls.ts';
import { Creates } from './file/creates.ts';

/** The thread that creates a directory store's files. */

const port = parentPort!;
const creates = new Creates(systemCalls, (answers) => port.postMessage({ answers } satisfies FileReply));

port.on('message', (request: FileRequest) => {
  if (request.type === 'create') creates.create(request);
  else if (request.type === 'sync') creates.sync(request);
  else {
    creates.close();
    port.close();
  }
});
