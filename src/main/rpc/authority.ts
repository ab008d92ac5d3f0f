import {
  BlockReader,
  decodeString,
  encodeInteger,
  encodeString,
  type HpackString,
} from '../../shared/base/hpack.ts';
import {
  BlockJoiner,
  encodeHeaders,
  type Frame,
  FrameCutter,
  type HeaderBlock,
  isBlockFrame,
} from './http2-frames.ts';

/**
 * Some etcd clients (etcdctl 3.4's calls to one endpoint each, given as a URL) send that URL as `:authority`. A
 * grpc-go server takes it; node's HTTP/2 resets the stream with PROTOCOL_ERROR. Here a URL is replaced by its host and
 * port, in the header blocks as they come, and everything else stays as it was.
 *
 * Why indices stay valid. The only change to a block is that some literal `:authority` gets a shorter value. Call the
 * dynamic table (RFC 7541, section 2.3.2) that the client keeps C, and node's N. Invariant: N begins with the entries
 * of C, the newest first, each as large as in C or smaller, and may go on with older ones that C has evicted. An
 * index counts from the newest and the client refers to nothing but C, so it means the same entry in N.
 * - An entry is inserted: in front of both. Both evict their oldest until the limit is kept. N evicts none that C
 *   keeps, as what C keeps is within the limit, and in N is no larger.
 * - The limit is updated: the update is copied, and the same holds.
 * - An entry is larger than the limit: it empties the table and is not inserted (section 4.4). When it is ours, C is
 *   empty and N may hold anything, the shorter entry too. When it is another, N is emptied like C.
 * So a block can be rewritten by itself, without its connection's table.
 */

const AUTHORITY = ':authority';
/** In HPACK's static table. */
const AUTHORITY_INDEX = 1;
/** The length of the name in HPACK's Huffman code. */
const AUTHORITY_HUFFMAN_BYTES = 8;

/** `host:port` of a URL; what is no URL is returned as it is. */
function hostOf(authority: string): string {
  if (!authority.includes('/')) return authority;
  const [host = ''] = authority.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '').split(/[/?#]/, 1);
  return host === '' ? authority : host;
}

/**
 * A header block with a URL as `:authority` cut to its host and port; the same object when it has none. Throws on bad
 * HPACK. To be called for every block of a connection, or for none.
 */
export function withoutUrl(block: Buffer): Buffer {
  const reader = new BlockReader(block);
  const pieces: Buffer[] = [];
  let copied = 0;
  while (!reader.atEnd()) {
    const start = reader.at;
    const changed = rewrittenField(reader);
    if (changed === undefined) continue;
    pieces.push(block.subarray(copied, start), changed);
    copied = reader.at;
  }
  return copied === 0 ? block : Buffer.concat([...pieces, block.subarray(copied)]);
}

/** Reads one representation (RFC 7541, section 6); what is to stand in its place, if that is another. */
function rewrittenField(reader: BlockReader): Buffer | undefined {
  const first = reader.peek();
  const indexed = (first & 0x80) !== 0;
  if (indexed || (first & 0xe0) === 0x20) {
    reader.integer(indexed ? 7 : 5);
    return undefined;
  }
  const inserted = (first & 0x40) !== 0;
  const index = reader.integer(inserted ? 6 : 4);
  const isAuthority = index === 0 ? isAuthorityName(reader.string()) : index === AUTHORITY_INDEX;
  const value = reader.string();
  if (!isAuthority) return undefined;
  const text = decodeString(value);
  const host = hostOf(text);
  if (host === text) return undefined;
  // 0x10, if the client has set it, asks that nobody on the way inserts the field.
  const name = inserted
    ? encodeInteger(AUTHORITY_INDEX, 6, 0x40)
    : encodeInteger(AUTHORITY_INDEX, 4, first & 0x10);
  return Buffer.concat([name, encodeString(host)]);
}

/** A literal name where the static table has one is rare, but allowed. */
function isAuthorityName(name: HpackString): boolean {
  if (name.bytes.length !== (name.huffman ? AUTHORITY_HUFFMAN_BYTES : AUTHORITY.length)) return false;
  return decodeString(name) === AUTHORITY;
}

/**
 * One connection's bytes after the preface, with every header block rewritten. Frames that are no part of a header
 * block are copied. From the first malformed frame or block on everything is copied, so that node answers it.
 */
export class AuthorityStream {
  readonly #cutter = new FrameCutter();
  readonly #joiner = new BlockJoiner();
  #malformed = false;

  /** What is to be passed on now; it may be empty. */
  push(bytes: Buffer): Buffer {
    if (this.#malformed) return bytes;
    this.#cutter.push(bytes);
    const out: Buffer[] = [];
    for (let frame = this.#cutter.next(); frame !== undefined; frame = this.#cutter.next()) {
      out.push(this.#frame(frame));
      if (this.#malformed) break;
    }
    this.#malformed ||= this.#cutter.tooLarge;
    if (this.#malformed) out.push(this.#joiner.bytes, this.#cutter.rest);
    return Buffer.concat(out);
  }

  #frame(frame: Frame): Buffer {
    if (!isBlockFrame(frame) && !this.#joiner.open) return frame.bytes;
    let block: HeaderBlock | undefined;
    try {
      block = this.#joiner.take(frame);
      if (block === undefined) return NOTHING;
      const fields = withoutUrl(block.fields);
      return fields === block.fields ? block.bytes : encodeHeaders({ ...block, fields });
    } catch {
      this.#malformed = true;
      return block?.bytes ?? NOTHING;
    }
  }
}

const NOTHING = Buffer.alloc(0);
