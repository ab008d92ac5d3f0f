import { asBuffer } from '../../shared/base/bytes.ts';
import { bodyToMessage, type JsonPlace, messageSchema, messageToJson } from '../../shared/etcd/json.ts';
import type { TaskPool } from '../pool/pool.ts';

/** What is larger is converted in the task pool; this much takes less than a millisecond. */
const INLINE_BYTES_MAX = 32 * 1024;

/** JSON to message and back, without keeping the main thread from its work. */
export class GatewayJson {
  readonly #pool: TaskPool;

  constructor(pool: TaskPool) {
    this.#pool = pool;
  }

  /** The message of an HTTP body. Rejects with a `JsonError`. */
  async fromBody(typeName: string, body: Buffer): Promise<Uint8Array> {
    if (body.length <= INLINE_BYTES_MAX) return bodyToMessage(messageSchema(typeName), body);
    return this.#pool.bodyToMessage(typeName, body);
  }

  /** An encoded message as JSON. */
  async toJson(typeName: string, message: Buffer, place: JsonPlace): Promise<Buffer> {
    if (message.length <= INLINE_BYTES_MAX) {
      return Buffer.from(messageToJson(messageSchema(typeName), message, place));
    }
    return asBuffer(await this.#pool.messageToJson(typeName, message, place));
  }
}
