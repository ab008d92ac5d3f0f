/**
 * As much of HPACK (RFC 7541) as a client needs that switches the dynamic table off
 * (SETTINGS_HEADER_TABLE_SIZE = 0): then every header block stands alone, and equal headers are
 * equal bytes.
 */

/** A header block for a unary gRPC call over h2c, from literals that are never indexed. */
export function requestBlock(path: string, authority: string): Buffer {
  const literal = (text: string): Buffer => {
    if (text.length > 126) throw new Error(`header value too long for one length byte: ${text}`);
    return Buffer.concat([Buffer.of(text.length), Buffer.from(text, 'latin1')]);
  };
  return Buffer.concat([
    Buffer.of(0x83, 0x86), // :method POST and :scheme http, static entries 3 and 6
    Buffer.of(0x04), // :path by its name, static entry 4
    literal(path),
    Buffer.of(0x01), // :authority, static entry 1
    literal(authority),
    Buffer.of(0x0f, 0x10), // content-type, static entry 31 = 15 + 16
    literal('application/grpc'),
    Buffer.of(0x00),
    literal('te'),
    literal('trailers'),
  ]);
}

/** Reads the fields of `block` that are literals with a literal name, which is where gRPC's are. */
export function literalFields(block: Uint8Array): Map<string, string> {
  const fields = new Map<string, string>();
  const reader = new BlockReader(block);
  while (!reader.atEnd()) {
    const first = reader.peek();
    if (first & 0x80) {
      reader.integer(7);
    } else if ((first & 0xe0) === 0x20) {
      reader.integer(5); // a size update of the table that we switched off
    } else {
      const nameIndex = reader.integer(first & 0x40 ? 6 : 4);
      if (nameIndex > 61) throw new Error('the server indexes headers in a table that we switched off');
      const name = nameIndex === 0 ? reader.string() : '';
      const value = reader.string();
      if (name !== '') fields.set(name, value);
    }
  }
  return fields;
}

class BlockReader {
  private readonly block: Uint8Array;
  private at = 0;

  constructor(block: Uint8Array) {
    this.block = block;
  }

  atEnd(): boolean {
    return this.at >= this.block.length;
  }

  peek(): number {
    return this.block[this.at]!;
  }

  /** RFC 7541, 5.1. */
  integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const next = this.byte();
      value += (next & 0x7f) * 2 ** shift;
      if (next < 0x80) return value;
    }
  }

  /** RFC 7541, 5.2. */
  string(): string {
    const huffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.block.subarray(this.at, this.at + length);
    this.at += length;
    return huffman ? fromHuffman(bytes) : Buffer.from(bytes).toString('latin1');
  }

  private byte(): number {
    if (this.atEnd()) throw new Error('a header block ends too early');
    return this.block[this.at++]!;
  }
}

/**
 * RFC 7541's code (appendix B) is canonical: within a length the codes count up in the order of
 * the symbols, and each length goes on where the one before it ended. So lengths and symbols say
 * it all. Only what headers of gRPC hold is listed: printable ASCII.
 */
const symbolsByLength: readonly (readonly [bits: number, symbols: string])[] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, '\0$@[]~'],
  [14, '^}'],
  [15, '<`{'],
  [19, '\\'],
];

function fromHuffman(bytes: Uint8Array): string {
  let text = '';
  let code = 0;
  let bits = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      bits++;
      const symbol = symbolOf(code, bits);
      if (symbol === undefined) continue;
      text += symbol;
      code = 0;
      bits = 0;
    }
  }
  return text;
}

function symbolOf(code: number, bits: number): string | undefined {
  let first = 0;
  let length = 5;
  for (const [symbolBits, symbols] of symbolsByLength) {
    first <<= symbolBits - length;
    length = symbolBits;
    if (bits === length) return symbols[code - first];
    first += symbols.length;
  }
  if (bits > length) throw new Error('a Huffman code that is not printable ASCII');
  return undefined;
}
