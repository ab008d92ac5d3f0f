import { bodyToMessage, type JsonPlace, messageSchema, messageToJson } from '../../shared/etcd/json.ts';
import { JsonError } from '../../shared/etcd/json-values.ts';
import type { TaskRefused } from '../contract/task.ts';

/** The message that a JSON body stands for. */
export function readJson(typeName: string, body: Uint8Array): Uint8Array | TaskRefused {
  try {
    return bodyToMessage(messageSchema(typeName), body);
  } catch (error) {
    if (error instanceof JsonError) return { type: 'refused', message: error.message };
    throw error;
  }
}

/** An encoded message as JSON, in UTF-8. */
export function writeJson(typeName: string, message: Uint8Array, place: JsonPlace): Uint8Array {
  return Buffer.from(messageToJson(messageSchema(typeName), message, place));
}
