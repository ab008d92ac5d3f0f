import { asBuffer } from '../base/bytes.ts';

/**
 * Cuts a stream of bytes into JSON values, as Go's encoding/json does with a Decoder: values may follow each other
 * with or without white space, what comes after the one that is asked for is not looked at, and what is wrong is
 * said in its words, which clients of etcd's gateway see. It does not make anything of the values; it only tells
 * where each ends.
 */

/** etcd's gateway would have said this of the JSON; the message is the gRPC status message. */
export class JsonError extends Error {
  override name = 'JsonError';
}

/** Go's own limit. */
const DEPTH_MAX = 10_000;

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What the scanner is inside of. */
type Inside = 'key' | 'value' | 'element';

/** Takes one byte and says what takes the next. */
type Step = (scan: Scan, byte: number) => Step;

interface Scan {
  readonly stack: Inside[];
  /** Where the byte at hand is. */
  at: number;
}

function code(character: string): number {
  return character.charCodeAt(0);
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDigit(byte: number): boolean {
  return byte >= code('0') && byte <= code('9');
}

function isHexadecimal(byte: number): boolean {
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= code('a') && lower <= code('f'));
}

function unexpected(byte: number, where: string): JsonError {
  return new JsonError(`invalid character ${quoted(byte)} ${where}`);
}

const ESCAPES: Readonly<Record<number, string>> = {
  7: '\\a',
  8: '\\b',
  9: '\\t',
  10: '\\n',
  11: '\\v',
  12: '\\f',
  13: '\\r',
  92: '\\\\',
};

/** A byte as Go quotes the character of that number. */
function quoted(byte: number): string {
  const character = String.fromCharCode(byte);
  return `'${character === "'" ? "\\'" : quotedCharacter(character)}'`;
}

/** A character within quotes that are not itself, as Go writes it. */
export function quotedCharacter(character: string): string {
  const number = character.codePointAt(0)!;
  const known = ESCAPES[number];
  if (known !== undefined) return known;
  if (number < 0x20 || number === 0x7f) return `\\x${number.toString(16).padStart(2, '0')}`;
  if (number === 0x20 || !/[\p{C}\p{Z}]/u.test(character)) return character;
  const digits = number.toString(16);
  return number > 0xffff ? `\\U${digits.padStart(8, '0')}` : `\\u${digits.padStart(4, '0')}`;
}

/** The value ended with the byte at hand. */
const endedHere: Step = () => endedHere;
/** The value ended before the byte at hand. */
const endedBefore: Step = () => endedBefore;

function open(scan: Scan, inside: Inside, byte: number): void {
  scan.stack.push(inside);
  if (scan.stack.length > DEPTH_MAX) throw unexpected(byte, 'exceeded max depth');
}

function close(scan: Scan): Step {
  scan.stack.pop();
  return scan.stack.length === 0 ? endedHere : afterValue;
}

const value: Step = (scan, byte) => {
  if (isSpace(byte)) return value;
  if (byte === code('{')) {
    open(scan, 'key', byte);
    return firstKey;
  }
  if (byte === code('[')) {
    open(scan, 'element', byte);
    return firstElement;
  }
  if (byte === QUOTE) return string;
  if (byte === code('-')) return minus;
  if (byte === code('0')) return integer0;
  if (isDigit(byte)) return integer;
  const literal = LITERALS.get(byte);
  if (literal !== undefined) return literal;
  throw unexpected(byte, 'looking for beginning of value');
};

const firstElement: Step = (scan, byte) => {
  if (isSpace(byte)) return firstElement;
  return byte === code(']') ? close(scan) : value(scan, byte);
};

const firstKey: Step = (scan, byte) => {
  if (isSpace(byte)) return firstKey;
  return byte === code('}') ? close(scan) : key(scan, byte);
};

const key: Step = (_, byte) => {
  if (isSpace(byte)) return key;
  if (byte === QUOTE) return string;
  throw unexpected(byte, 'looking for beginning of object key string');
};

const afterValue: Step = (scan, byte) => {
  const last = scan.stack.length - 1;
  const inside = scan.stack[last];
  if (inside === undefined) return endedBefore;
  if (isSpace(byte)) return afterValue;
  if (inside === 'key') {
    if (byte !== code(':')) throw unexpected(byte, 'after object key');
    scan.stack[last] = 'value';
    return value;
  }
  if (inside === 'value') {
    if (byte === code('}')) return close(scan);
    if (byte !== code(',')) throw unexpected(byte, 'after object key:value pair');
    scan.stack[last] = 'key';
    return key;
  }
  if (byte === code(']')) return close(scan);
  if (byte !== code(',')) throw unexpected(byte, 'after array element');
  return value;
};

const string: Step = (_, byte) => {
  if (byte === QUOTE) return afterValue;
  if (byte === BACKSLASH) return escaped;
  if (byte < SPACE) throw unexpected(byte, 'in string literal');
  return string;
};

const escaped: Step = (_, byte) => {
  if (byte === code('u')) return hexadecimal4;
  if ('bfnrt\\/"'.includes(String.fromCharCode(byte))) return string;
  throw unexpected(byte, 'in string escape code');
};

function hexadecimal(next: Step): Step {
  return (_, byte) => {
    if (!isHexadecimal(byte)) throw unexpected(byte, 'in \\u hexadecimal character escape');
    return next;
  };
}

const hexadecimal4 = hexadecimal(hexadecimal(hexadecimal(hexadecimal(string))));

const minus: Step = (_, byte) => {
  if (byte === code('0')) return integer0;
  if (isDigit(byte)) return integer;
  throw unexpected(byte, 'in numeric literal');
};

const integer: Step = (scan, byte) => (isDigit(byte) ? integer : integer0(scan, byte));

/** After a leading zero no digit may follow. */
const integer0: Step = (scan, byte) => {
  if (byte === code('.')) return point;
  if (byte === code('e') || byte === code('E')) return exponent;
  return afterValue(scan, byte);
};

const point: Step = (_, byte) => {
  if (isDigit(byte)) return fraction;
  throw unexpected(byte, 'after decimal point in numeric literal');
};

const fraction: Step = (scan, byte) => {
  if (isDigit(byte)) return fraction;
  if (byte === code('e') || byte === code('E')) return exponent;
  return afterValue(scan, byte);
};

const exponent: Step = (scan, byte) => {
  if (byte === code('+') || byte === code('-')) return exponentSign;
  return exponentSign(scan, byte);
};

const exponentSign: Step = (_, byte) => {
  if (isDigit(byte)) return exponentDigits;
  throw unexpected(byte, 'in exponent of numeric literal');
};

const exponentDigits: Step = (scan, byte) => (isDigit(byte) ? exponentDigits : afterValue(scan, byte));

/** The steps of a literal after its first letter. */
function literal(word: string): Step {
  let next: Step = afterValue;
  for (const letter of [...word].reverse().slice(0, -1)) {
    const then = next;
    next = (_, byte) => {
      if (byte === code(letter)) return then;
      throw unexpected(byte, `in literal ${word} (expecting '${letter}')`);
    };
  }
  return next;
}

const LITERALS = new Map(['true', 'false', 'null'].map((word) => [code(word), literal(word)]));

const NO_BYTES = Buffer.alloc(0);

/** Reads one value after another out of bytes that may come in pieces. */
export class JsonValues {
  #bytes: Buffer = NO_BYTES;
  #step: Step = value;
  #scan: Scan = newScan();

  /** Takes the next bytes; keeps `piece` itself where it can. */
  push(piece: Uint8Array): void {
    this.#bytes = this.#bytes.length === 0 ? asBuffer(piece) : Buffer.concat([this.#bytes, piece]);
  }

  /** What was pushed and is not part of a value that was read. */
  get pendingBytes(): number {
    return this.#bytes.length;
  }

  /** The next value; undefined until more is pushed. Throws a `JsonError` where Go's decoder fails. */
  next(): Uint8Array | undefined {
    const bytes = this.#bytes;
    const scan = this.#scan;
    for (; scan.at < bytes.length; scan.at++) {
      if (this.#step === string) scan.at = plainEnd(bytes, scan.at);
      const byte = bytes[scan.at];
      if (byte === undefined) return undefined;
      this.#step = this.#step(scan, byte);
      if (this.#step === endedHere) return this.#cut(scan.at + 1);
      if (this.#step === endedBefore) return this.#cut(scan.at);
    }
    return undefined;
  }

  /** As `next`, when nothing more will be pushed: undefined if there is nothing left but white space. */
  last(): Uint8Array | undefined {
    const found = this.next();
    if (found !== undefined) return found;
    // White space ends what has no end of its own, like a number.
    if (endsHere(this.#step, this.#scan)) return this.#cut(this.#bytes.length);
    if (this.#bytes.every(isSpace)) return undefined;
    throw new JsonError('unexpected EOF');
  }

  #cut(end: number): Uint8Array {
    const bytes = this.#bytes.subarray(0, end);
    this.#bytes = this.#bytes.subarray(end);
    this.#step = value;
    this.#scan = newScan();
    return bytes;
  }
}

function endsHere(step: Step, scan: Scan): boolean {
  try {
    return step(scan, SPACE) === endedBefore;
  } catch {
    return false;
  }
}

function newScan(): Scan {
  return { stack: [], at: 0 };
}

/** Where the first byte that means something in a string is. */
function plainEnd(bytes: Buffer, from: number): number {
  let at = from;
  for (; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    if (byte === QUOTE || byte === BACKSLASH || byte < SPACE) break;
  }
  return at;
}
