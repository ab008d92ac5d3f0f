import { BlockReader, decodeString } from './hpack.ts';

/** Reads header blocks with HPACK's tables (RFC 7541): one decoder for all blocks of a connection, in their order. */

export interface HeaderField {
  /** As latin1, as it came: nothing is checked. */
  readonly name: string;
  readonly value: string;
}

/** SETTINGS_HEADER_TABLE_SIZE's initial value, which servers here leave as it is. */
const TABLE_BYTES_MAX = 4096;
/** What an entry counts beside its name and value (section 4.1). */
const ENTRY_BYTES = 32;
/** A block that refers to large entries again and again is far larger than what came. */
const BLOCK_BYTES_MAX = 256 * 1024;

export class HeaderDecoder {
  /** The newest last. */
  #entries: HeaderField[] = [];
  #bytes = 0;
  #bytesMax = TABLE_BYTES_MAX;
  #version = 0;

  /** Is another after each block that may have changed what later blocks mean. */
  get version(): number {
    return this.#version;
  }

  /** A block's fields in order. Throws on what is malformed or too large; then the decoder is of no more use. */
  decode(block: Uint8Array): HeaderField[] {
    const reader = new BlockReader(block);
    const fields: HeaderField[] = [];
    let bytes = 0;
    while (!reader.atEnd()) {
      const field = this.#field(reader, fields.length === 0);
      if (field === undefined) continue;
      fields.push(field);
      bytes += sizeOf(field);
      if (bytes > BLOCK_BYTES_MAX) throw new Error('a header block is too large');
    }
    return fields;
  }

  /** One representation (section 6); undefined for a change of the table's size, which only a block's begin may have. */
  #field(reader: BlockReader, mayResize: boolean): HeaderField | undefined {
    const first = reader.peek();
    if ((first & 0x80) !== 0) return this.#at(reader.integer(7));
    if ((first & 0xe0) === 0x20) {
      if (!mayResize) throw new Error('a header table is resized within a block');
      this.#resize(reader.integer(5));
      return undefined;
    }
    const inserted = (first & 0x40) !== 0;
    const index = reader.integer(inserted ? 6 : 4);
    const name = index === 0 ? decodeString(reader.string()) : this.#at(index).name;
    const field = { name, value: decodeString(reader.string()) };
    if (inserted) this.#insert(field);
    return field;
  }

  #at(index: number): HeaderField {
    const field =
      index <= STATIC_TABLE.length
        ? STATIC_TABLE[index - 1]
        : this.#entries[this.#entries.length - (index - STATIC_TABLE.length)];
    if (field === undefined) throw new Error('a header block refers to no entry');
    return field;
  }

  #insert(field: HeaderField): void {
    this.#version++;
    this.#entries.push(field);
    this.#bytes += sizeOf(field);
    this.#evict();
  }

  #resize(bytes: number): void {
    if (bytes > TABLE_BYTES_MAX) throw new Error('a header table is made too large');
    this.#version++;
    this.#bytesMax = bytes;
    this.#evict();
  }

  #evict(): void {
    let evicted = 0;
    for (const field of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#bytes -= sizeOf(field);
      evicted++;
    }
    if (evicted > 0) this.#entries.splice(0, evicted);
  }
}

function sizeOf({ name, value }: HeaderField): number {
  return name.length + value.length + ENTRY_BYTES;
}

/** Appendix A. */
const STATIC_TABLE: readonly HeaderField[] = [
  [':authority', ''],
  ...['GET', 'POST'].map((value) => [':method', value]),
  ...['/', '/index.html'].map((value) => [':path', value]),
  ...['http', 'https'].map((value) => [':scheme', value]),
  ...['200', '204', '206', '304', '400', '404', '500'].map((value) => [':status', value]),
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...(
    'accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control ' +
    'content-disposition content-encoding content-language content-length content-location content-range ' +
    'content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range ' +
    'if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range ' +
    'referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary ' +
    'via www-authenticate'
  )
    .split(' ')
    .map((name) => [name, '']),
].map(([name = '', value = '']) => ({ name, value }));
