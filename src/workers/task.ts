import '../shared/base/base64.ts';
import { CorruptFileError } from '../shared/format/corrupt.ts';
import type { TaskCorrupt, TaskRefused, TaskRequest } from './contract/task.ts';
import type { LoadedChunk } from './contract/writer.ts';
import { checkpoint } from './task/checkpoint.ts';
import { compressBody } from './task/compress.ts';
import { readJson, writeJson } from './task/json.ts';
import { openChunk } from './task/open.ts';

/** Runs one task of the piscina pool. */
export default async function run(
  task: TaskRequest,
): Promise<Uint8Array | LoadedChunk | TaskCorrupt | TaskRefused | undefined> {
  switch (task.type) {
    case 'compress':
      return compressBody(task.body, task.level);
    case 'open':
      try {
        return await openChunk(task.name, task.sequence, task.object);
      } catch (error) {
        if (error instanceof CorruptFileError) return { type: 'corrupt', message: error.message };
        throw error;
      }
    case 'checkpoint':
      checkpoint(task.cacheFile);
      return undefined;
    case 'bodyToMessage':
      return readJson(task.message, task.body);
    case 'messageToJson':
      return writeJson(task.message, task.bytes, task.place);
  }
}
