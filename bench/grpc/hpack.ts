import { BlockReader, decodeString } from '../../src/shared/base/hpack.ts';

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
      const name = nameIndex === 0 ? decodeString(reader.string()) : '';
      const value = decodeString(reader.string());
      if (name !== '') fields.set(name, value);
    }
  }
  return fields;
}
