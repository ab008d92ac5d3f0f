/** HPACK's integers and strings (RFC 7541, section 5), without its tables. */

import { decodeHuffman } from './huffman.ts';

/** No length, index or table size that fits an HTTP/2 header block needs more; it keeps sums exact. */
const INTEGER_MAX = 2 ** 28;

export interface HpackString {
  readonly huffman: boolean;
  readonly bytes: Uint8Array;
}

/** Reads a header block's pieces in order. Every method throws when the block ends too early. */
export class BlockReader {
  readonly #block: Uint8Array;
  #at = 0;

  constructor(block: Uint8Array) {
    this.#block = block;
  }

  /** How many bytes were read. */
  get at(): number {
    return this.#at;
  }

  atEnd(): boolean {
    return this.#at >= this.#block.length;
  }

  /** The next byte, which is not consumed. */
  peek(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new Error('a header block ends too early');
    return byte;
  }

  /** An integer with a prefix of so many bits (5.1); throws when it is far larger than any use of it. */
  integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const next = this.#byte();
      value += (next & 0x7f) * 2 ** shift;
      if (value > INTEGER_MAX || shift > 28) throw new Error('an integer in a header block is too large');
      if (next < 0x80) return value;
    }
  }

  /** A string (5.2) as it stands in the block; `bytes` is a view. */
  string(): HpackString {
    const huffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    if (length > this.#block.length - this.#at) throw new Error('a header block ends too early');
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    this.#at += length;
    return { huffman, bytes };
  }

  #byte(): number {
    const byte = this.peek();
    this.#at++;
    return byte;
  }
}

/** An integer with a prefix of so many bits (5.1), whose other bits in the first byte are `flags`. */
export function encodeInteger(value: number, prefixBits: number, flags: number): Buffer {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) return Buffer.of(flags | value);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A string (5.2) that is not Huffman coded. */
export function encodeString(text: string): Buffer {
  return Buffer.concat([encodeInteger(text.length, 7, 0), Buffer.from(text, 'latin1')]);
}

/** A string's text as latin1; throws when its Huffman code is not well-formed. */
export function decodeString({ huffman, bytes }: HpackString): string {
  return huffman ? decodeHuffman(bytes) : Buffer.from(bytes).toString('latin1');
}
