import { Metadata } from '@grpc/grpc-js';
import { encodeString } from '../../shared/base/hpack.ts';
import { HeaderDecoder, type HeaderField } from '../../shared/base/hpack-decoder.ts';
import { ConnectionError, HTTP2_ERROR } from './direct-input.ts';
import { encodeFrame, encodeHeaders, FLAG, FRAME_TYPE } from './http2-frames.ts';
import type { StreamMethod, UnaryMethod } from './service.ts';

/** Which requests `DirectSocket` serves itself. What is in any way odd is grpc-js's, which has the rules for it. */

/** Methods that have a way beside grpc-js, by path. */
export interface DirectMethods {
  readonly unary: ReadonlyMap<string, UnaryMethod>;
  readonly streams: ReadonlyMap<string, StreamMethod>;
}

export interface PlainHead {
  readonly method: { readonly unary: UnaryMethod } | { readonly stream: StreamMethod };
  /** `grpc-timeout`; undefined is none. */
  readonly timeoutMs: number | undefined;
  readonly fields: readonly HeaderField[];
}

const PSEUDO = 4;
/** Of names and values; what is larger is node's, which has the limit. */
const FIELDS_BYTES_MAX = 4096;
/** These are about the connection or the message's form: grpc-js or node looks at them. */
const ODD_NAMES = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'cookie',
  'expect',
  'grpc-encoding',
  'grpc-trace-bin',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);
/** A metadata key as grpc-js takes it, without those of bytes (`-bin`). */
const NAME = /^[0-9a-z_.-]+$/;
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const AUTHORITY = /^[0-9A-Za-z.:[\]_-]+$/;
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
/** node's longest timer. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** The head of a plain call of one of `methods`; undefined for everything else. */
function plainHead(fields: readonly HeaderField[], methods: DirectMethods): PlainHead | undefined {
  const seen = new Map<string, string>();
  let bytes = 0;
  for (const [index, { name, value }] of fields.entries()) {
    bytes += name.length + value.length;
    if (bytes > FIELDS_BYTES_MAX) return undefined;
    const pseudo = name.startsWith(':');
    if (seen.has(name) || pseudo !== index < PSEUDO || !VALUE.test(value)) return undefined;
    if (!pseudo && (!NAME.test(name) || name.endsWith('-bin') || ODD_NAMES.has(name))) return undefined;
    seen.set(name, value);
  }
  const method = methodAt(seen.get(':path') ?? '', methods);
  if (method === undefined || !isPlain(seen)) return undefined;
  const timeout = seen.get('grpc-timeout');
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
  if (timeout !== undefined && timeoutMs === undefined) return undefined;
  return { method, timeoutMs, fields };
}

function methodAt(path: string, { unary, streams }: DirectMethods): PlainHead['method'] | undefined {
  const ofOne = unary.get(path);
  if (ofOne !== undefined) return { unary: ofOne };
  const stream = streams.get(path);
  return stream && { stream };
}

function isPlain(seen: ReadonlyMap<string, string>): boolean {
  const scheme = seen.get(':scheme');
  const te = seen.get('te');
  const type = seen.get('content-type');
  return (
    seen.get(':method') === 'POST' &&
    (scheme === 'http' || scheme === 'https') &&
    AUTHORITY.test(seen.get(':authority') ?? '') &&
    (te === undefined || te === 'trailers') &&
    (type === 'application/grpc' || type === 'application/grpc+proto')
  );
}

/** A request's header block. */
export interface RequestBlock {
  readonly fields: readonly HeaderField[];
  /** Undefined unless it is that of a plain call. */
  readonly head: PlainHead | undefined;
}

/** How many blocks are remembered while they mean the same. */
const REMEMBERED_MAX = 100;

/** Reads the header blocks of one connection, all of them and in order. */
export class DirectRequests {
  readonly #methods: DirectMethods;
  readonly #decoder = new HeaderDecoder();
  /** By the block's bytes: a client's calls are often the same to the last bit. */
  readonly #known = new Map<string, RequestBlock>();
  #version = 0;

  constructor(methods: DirectMethods) {
    this.#methods = methods;
  }

  /** Throws a `ConnectionError` when the block is malformed. */
  read(block: Buffer): RequestBlock {
    const key = block.toString('latin1');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const fields = this.#decode(block);
    const request = { fields, head: plainHead(fields, this.#methods) };
    if (this.#version !== this.#decoder.version || this.#known.size >= REMEMBERED_MAX) {
      this.#version = this.#decoder.version;
      this.#known.clear();
    } else this.#known.set(key, request);
    return request;
  }

  #decode(block: Buffer): HeaderField[] {
    try {
      return this.#decoder.decode(block);
    } catch (error) {
      throw new ConnectionError(HTTP2_ERROR.compression, (error as Error).message);
    }
  }
}

/** Frames of a header block whose fields need no table. */
export function literalHeaders(stream: number, endsStream: boolean, fields: readonly HeaderField[]): Buffer {
  const literals = fields.flatMap(({ name, value }) => [LITERAL, encodeString(name), encodeString(value)]);
  const nothing = Buffer.alloc(0);
  const flags = endsStream ? FLAG.endStream : 0;
  const first = { type: FRAME_TYPE.headers, flags, stream, payload: nothing, bytes: nothing };
  return encodeHeaders({ first, priority: nothing, fields: Buffer.concat(literals) });
}

/** Not indexed, with a new name (RFC 7541, section 6.2.2). */
const LITERAL = Buffer.of(0);

/** A DATA frame. */
export function dataFrame(stream: number, endsStream: boolean, payload: Buffer): Buffer {
  return encodeFrame(FRAME_TYPE.data, endsStream ? FLAG.endStream : 0, stream, payload);
}

function parseTimeout(text: string): number | undefined {
  const [, amount = '', unit = ''] = TIMEOUT.exec(text) ?? [];
  const timeoutMs = Math.floor(Number(amount) * (UNIT_MS[unit] ?? Number.NaN));
  return timeoutMs <= TIMEOUT_MS_MAX ? timeoutMs : undefined;
}

/** As from grpc-js. */
export function metadataOf({ fields }: PlainHead): Metadata {
  const headers: Record<string, string> = {};
  for (const { name, value } of fields) if (!HIDDEN.has(name)) headers[name] = value;
  return Metadata.fromHttp2Headers(headers);
}

/** What grpc-js keeps from its handlers. */
const HIDDEN = new Set([
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
  'accept-encoding',
  'te',
  'content-type',
]);
