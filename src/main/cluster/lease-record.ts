import { asBuffer } from '../../shared/base/bytes.ts';

/** What one object of the primary's lease says (see `LeaseChain`): JSON, for people who look into the bucket. */
export interface LeaseRecord {
  /** The node's id: its member id in hexadecimal. */
  readonly holder: string;
  /** Random, of the one process that wrote it. */
  readonly process: string;
  /** How long it is the holder's from the moment that anybody sees it. */
  readonly ttlMs: number;
  /** The holder has gone in good order: whoever wants may take over at once. */
  readonly released: boolean;
  /** The last sequence of the log that was durable when it was written. */
  readonly sequence: number;
  /** The holder's `--name`, and where its clients connect. */
  readonly name: string;
  readonly clientUrls: readonly string[];
}

/** The object of a lease. `number` makes each one's bytes its own. */
export function encodeLease(number: number, record: LeaseRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify({ number, ...record })}\n`);
}

/**
 * What an object says; undefined for one that can't be read, which stands for a holder that nobody knows. Missing
 * texts are empty.
 */
export function decodeLease(object: Uint8Array): LeaseRecord | undefined {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(asBuffer(object).toString()) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const { holder, process, ttlMs, released, sequence, name, clientUrls } = fields ?? {};
  if (typeof holder !== 'string' || !/^[0-9a-f]{1,16}$/.test(holder)) return undefined;
  if (typeof process !== 'string' || typeof ttlMs !== 'number' || !(ttlMs > 0)) return undefined;
  return {
    holder,
    process,
    ttlMs,
    released: released === true,
    sequence: typeof sequence === 'number' ? sequence : 0,
    name: typeof name === 'string' ? name : '',
    clientUrls: Array.isArray(clientUrls) ? clientUrls.filter((url) => typeof url === 'string') : [],
  };
}
