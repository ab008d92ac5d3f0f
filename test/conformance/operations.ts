/**
 * What the differential test sends, as plain data that prints well and shrinks: text stands for bytes, one character
 * per byte, and large numbers stand for what is only known when the operation is sent.
 */

export type Fields = { readonly [name: string]: Field };
type Field = string | bigint | number | boolean | Fields | readonly Fields[] | readonly number[];

/** One call: the same request to both servers. */
export interface Call {
  readonly rpc: Rpc;
  readonly request: Fields;
}

export type Rpc =
  | 'Range'
  | 'RangeStream'
  | 'Put'
  | 'DeleteRange'
  | 'Txn'
  | 'Compact'
  | 'LeaseGrant'
  | 'LeaseRevoke'
  | 'LeaseKeepAlive'
  | 'LeaseTimeToLive'
  | 'LeaseLeases'
  | 'Status'
  | 'HashKV';

/**
 * What happens on one of the few Watch streams that a sequence may have open, each a stream to both servers.
 *
 * - `create` opens the stream if it is not open. With `progressAtOnce` a progress request follows right behind, while
 *   the watch may still be catching up.
 * - `endRequests`: the client says that it sends no more; events go on.
 * - `none`: a request without content.
 * - `race`: a put, with progress requests before and behind it on every stream.
 */
export type WatchOperation =
  | {
      readonly watch: 'create';
      readonly stream: number;
      readonly request: Fields;
      readonly progressAtOnce: boolean;
    }
  | { readonly watch: 'cancel'; readonly stream: number; readonly watchId: bigint }
  | { readonly watch: 'progress' | 'close' | 'endRequests' | 'none'; readonly stream: number }
  | { readonly watch: 'race'; readonly put: Fields };

/** A lease with a TTL below the least, granted and revoked at once so that it can't end in the meantime. */
interface ShortLease {
  readonly shortLease: Fields;
}

/** Waits until a lease with keys has ended on both servers, which is one revision. */
interface LeaseEnd {
  readonly wait: 'lease end';
}

export type Operation = Call | WatchOperation | ShortLease | LeaseEnd;

/** Streams that a sequence may have open at the same time. */
export const STREAMS = 3;

const NEWEST = 1n << 40n;
const COMPACTED = 1n << 45n;
const DISTANCE_MAX = 1000n;
const DISTANCE_SPAN = 2n * DISTANCE_MAX;

/** The lease whose id the server chose last; before the first one no lease at all. */
export const CHOSEN_LEASE = 1n << 50n;

/** Stands for the newest revision plus `distance`. */
export function fromNewest(distance: number): bigint {
  return NEWEST + DISTANCE_MAX + BigInt(distance);
}

/** Stands for the revision of the last compaction (0 before the first) plus `distance`. */
export function fromCompacted(distance: number): bigint {
  return COMPACTED + DISTANCE_MAX + BigInt(distance);
}

/** What the placeholders stand for when an operation is sent to one of the servers. */
export interface Moment {
  readonly newestRevision: bigint;
  readonly compactRevision: bigint;
  /** The id that this server chose last. */
  readonly chosenLease: bigint;
}

/** The request to send: placeholders replaced, text as bytes. */
export function resolveFields(fields: Fields, moment: Moment): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, resolveField(field, moment)]),
  );
}

function resolveField(field: Field, moment: Moment): unknown {
  if (typeof field === 'string') {
    return UNION_CASES.has(field) ? field : new Uint8Array(Buffer.from(field, 'latin1'));
  }
  if (typeof field === 'bigint') return resolveNumber(field, moment);
  if (Array.isArray(field)) {
    return field.map((one: Fields | number) => (typeof one === 'number' ? one : resolveFields(one, moment)));
  }
  return typeof field === 'object' ? resolveFields(field as Fields, moment) : field;
}

/** The number that a placeholder stands for; any other number is itself. */
function resolveNumber(number: bigint, moment: Moment): bigint {
  if (number === CHOSEN_LEASE) return moment.chosenLease;
  if (number >= COMPACTED && number < COMPACTED + DISTANCE_SPAN) {
    return moment.compactRevision + number - COMPACTED - DISTANCE_MAX;
  }
  if (number >= NEWEST && number < NEWEST + DISTANCE_SPAN) {
    return moment.newestRevision + number - NEWEST - DISTANCE_MAX;
  }
  return number;
}

/** How protobuf-es names the chosen member of a oneof; the only texts that are not bytes. */
const UNION_CASES = new Set([
  'requestRange',
  'requestPut',
  'requestDeleteRange',
  'requestTxn',
  'version',
  'createRevision',
  'modRevision',
  'value',
  'lease',
]);

/** An operation on one line, for reports. */
export function show(operation: Operation): string {
  if ('rpc' in operation) return `${operation.rpc} ${showRequest(operation.request)}`;
  if ('shortLease' in operation) return `LeaseGrant and LeaseRevoke ${showRequest(operation.shortLease)}`;
  if ('wait' in operation) return `wait for the ${operation.wait}`;
  const { watch, ...rest } = operation;
  return `watch ${watch} ${showRequest(rest)}`;
}

/** Without what is not set. */
function showRequest(request: object): string {
  return showValue(request, (one) => one === false || one === '' || one === 0n || one === 0);
}

/** A value of operations, requests and answers as readable text. */
export function showValue(value: unknown, left: (one: unknown) => boolean = () => false): string {
  return JSON.stringify(value, (name, one: unknown) => {
    if (left(one) && name !== 'stream' && name !== 'watchId') return undefined;
    if (typeof one === 'bigint') return showNumber(one);
    if (one instanceof Uint8Array) return showLong(Buffer.from(one).toString('latin1'));
    return typeof one === 'string' ? showLong(one) : one;
  });
}

function showNumber(number: bigint): string | number {
  if (number === CHOSEN_LEASE) return 'the lease with a chosen id';
  if (number >= COMPACTED && number < COMPACTED + DISTANCE_SPAN) {
    return `compacted${signed(number - COMPACTED - DISTANCE_MAX)}`;
  }
  if (number >= NEWEST && number < NEWEST + DISTANCE_SPAN) {
    return `newest${signed(number - NEWEST - DISTANCE_MAX)}`;
  }
  return Number(number);
}

function signed(number: bigint): string {
  return number < 0n ? `${number}` : `+${number}`;
}

const SHOWN_CHARACTERS_MAX = 60;

function showLong(text: string): string {
  return text.length <= SHOWN_CHARACTERS_MAX ? text : `${text.slice(0, 8)}… (${text.length} bytes)`;
}
