import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from '@bufbuild/protobuf';
import { assert } from '../base/assert.ts';
import { JsonError, quotedCharacter } from './json-values.ts';

/**
 * Reads the JSON of a message as Go's protojson does, which etcd's gateway uses: what it refuses is refused, in its
 * words and with its line and column, and what it lets pass is left out or written the one way that protobuf-es takes.
 * protobuf-es itself is more liberal (base64 with spaces in it would become another key), and `JSON.parse` would round
 * lease ids.
 */

/** Go stops at 10,000; a transaction that deep is refused anyway (see the codecs), and recursion here has to end. */
const DEPTH_MAX = 1_000;

const INTEGER_BITS: Partial<Record<ScalarType, readonly [signed: boolean, bits: number]>> = {
  [ScalarType.INT32]: [true, 32],
  [ScalarType.INT64]: [true, 64],
  [ScalarType.UINT32]: [false, 32],
  [ScalarType.UINT64]: [false, 64],
};

const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
/** No whole number of 64 bits has more digits. */
const DIGITS_MAX = 20;

const NOT_BASE64 = /[^A-Za-z0-9+/]/;
const NOT_BASE64_URL = /[^A-Za-z0-9_-]/;

const LONE_SURROGATE = /\p{Surrogate}/u;
/** An escape, and what is half of a character if it is not the first of two that make one. */
const ESCAPES =
  /\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(\\u[dD][89a-fA-F][\da-fA-F]{2})|\\./g;
const ESCAPE_BYTES = 6;

/** The fields that a JSON object of this message may have, by either name. */
const fieldsOfMessages = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>();

function fieldsOf(schema: DescMessage): ReadonlyMap<string, DescField> {
  let fields = fieldsOfMessages.get(schema);
  if (fields === undefined) {
    fields = new Map(
      schema.fields.flatMap((field) => [
        [field.name, field],
        [field.jsonName, field],
      ]),
    );
    fieldsOfMessages.set(schema, fields);
  }
  return fields;
}

/** The JSON of a message, for protobuf-es's `fromJson`. `text` is one well-formed JSON value. Throws a `JsonError`. */
export function readMessage(schema: DescMessage, text: string): JsonObject {
  return new Reader(text).message(schema);
}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  message(schema: DescMessage): JsonObject {
    if (++this.#depth > DEPTH_MAX) throw new JsonError('proto: exceeded max recursion depth');
    if (this.#next() !== '{') throw this.#unexpected();
    this.#at++;
    const json: JsonObject = {};
    const fields = fieldsOf(schema);
    const seen = new Set<unknown>();
    while (this.#next() !== '}') {
      const from = this.#at;
      const name = this.#string();
      const raw = this.#text.slice(from, this.#at);
      const field = fields.get(name);
      if (field === undefined) {
        this.#skip();
        continue;
      }
      if (seen.has(field)) throw this.#error(from, `duplicate field ${raw}`);
      seen.add(field);
      if (this.#next() === 'n') {
        this.#skip();
        continue;
      }
      if (field.oneof !== undefined) {
        const oneof = `${schema.typeName}.${field.oneof.name}`;
        if (seen.has(oneof)) throw this.#error(from, `error parsing ${raw}, oneof ${oneof} is already set`);
        seen.add(oneof);
      }
      const value = this.#field(field);
      if (value !== undefined) json[field.jsonName] = value;
    }
    this.#at++;
    this.#depth--;
    return json;
  }

  /** Undefined for the name of an enum's value that is not known, which is left out. */
  #field(field: DescField): JsonValue | undefined {
    assert(field.fieldKind !== 'map', "etcd's messages have no maps");
    if (field.fieldKind === 'list') return this.#list(field);
    if (field.fieldKind === 'message') return this.message(field.message);
    return this.#scalar(field);
  }

  #list(field: DescField & { fieldKind: 'list' }): JsonValue[] {
    if (this.#next() !== '[') throw this.#unexpected();
    this.#at++;
    const items: JsonValue[] = [];
    while (this.#next() !== ']') {
      const item = field.listKind === 'message' ? this.message(field.message) : this.#scalar(field);
      if (item !== undefined) items.push(item);
    }
    this.#at++;
    return items;
  }

  #scalar(field: DescField): JsonValue | undefined {
    const kind = this.#next();
    const from = this.#at;
    // A token that begins what is no scalar is one character.
    const text = kind === '"' ? this.#string() : kind === '{' || kind === '[' ? kind : this.#word();
    const value = scalarOf(field, kind, text);
    if (value !== null) return value;
    const raw = kind === '"' ? this.#text.slice(from, this.#at) : text;
    throw this.#error(from, `invalid value for ${kindName(field)} field ${field.jsonName}: ${raw}`);
  }

  /** Goes to the next token and says how it begins. The commas and colons on the way were checked before. */
  #next(): string {
    for (; ; this.#at++) {
      const character = this.#text[this.#at] as string;
      if (!' \n\r\t,:'.includes(character)) return character;
    }
  }

  /** The string at hand, without quotes and escapes. */
  #string(): string {
    const from = this.#at;
    let end = this.#text.indexOf('"', from + 1);
    while (this.#backslashesBefore(end) % 2 === 1) end = this.#text.indexOf('"', end + 1);
    this.#at = end + 1;
    const inner = this.#text.slice(from + 1, end);
    if (!inner.includes('\\')) return inner;
    const string = JSON.parse(`"${inner}"`) as string;
    if (!LONE_SURROGATE.test(string)) return string;
    throw this.#halfCharacter(from, inner);
  }

  /** Go looks at the bytes after the half, whether they belong to the string or not. */
  #halfCharacter(from: number, inner: string): JsonError {
    const half = [...inner.matchAll(ESCAPES)].find(([, lone]) => lone !== undefined);
    assert(half !== undefined, 'a string with half a character in it has an escape of one');
    const next = this.#text.slice(from + 1 + half.index + ESCAPE_BYTES).slice(0, ESCAPE_BYTES);
    if (Buffer.byteLength(next) < ESCAPE_BYTES) return new JsonError('proto: unexpected EOF');
    return this.#syntaxError(from, `invalid escape code ${quotedStart(next, ESCAPE_BYTES)} in string`);
  }

  #backslashesBefore(end: number): number {
    let count = 0;
    while (this.#text[end - 1 - count] === '\\') count++;
    return count;
  }

  /** The number or literal at hand. */
  #word(): string {
    const from = this.#at;
    while (/[-+.\w]/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text.slice(from, this.#at);
  }

  /** Passes over any value. */
  #skip(): void {
    let open = 0;
    do {
      const kind = this.#next();
      if (kind === '"') this.#string();
      else if (kind === '{' || kind === '[' || kind === '}' || kind === ']') {
        open += kind === '{' || kind === '[' ? 1 : -1;
        this.#at++;
      } else this.#word();
    } while (open > 0);
  }

  #unexpected(): JsonError {
    const from = this.#at;
    const kind = this.#next();
    if (kind === '"') this.#string();
    else if ('{}[]'.includes(kind)) this.#at++;
    else this.#word();
    return this.#syntaxError(from, `unexpected token ${this.#text.slice(from, this.#at)}`);
  }

  #syntaxError(at: number, message: string): JsonError {
    return new JsonError(`proto: syntax error ${this.#position(at)}: ${message}`);
  }

  #error(at: number, message: string): JsonError {
    return new JsonError(`proto: ${this.#position(at)}: ${message}`);
  }

  /** Lines and columns from 1; columns are characters. */
  #position(at: number): string {
    const lines = this.#text.slice(0, at).split('\n');
    return `(line ${lines.length}:${[...(lines.at(-1) ?? '')].length + 1})`;
  }
}

/** The first bytes of a text as Go's %q has them: what a cut leaves of a character is bytes. */
function quotedStart(text: string, length: number): string {
  let [quoted, left] = ['', length];
  for (const character of text) {
    const bytes = Buffer.from(character).subarray(0, left);
    if (bytes.length < Buffer.byteLength(character)) {
      for (const byte of bytes) quoted += `\\x${byte.toString(16)}`;
    } else quoted += character === '"' ? '\\"' : quotedCharacter(character);
    left -= bytes.length;
  }
  return `"${quoted}"`;
}

function kindName(field: DescField): string {
  return field.scalar === undefined ? 'enum' : (ScalarType[field.scalar] as string).toLowerCase();
}

/**
 * What protobuf-es is to read for a token, whose first character is `kind` and whose text is `text`; undefined to leave
 * it out, null when the field can't have it.
 */
function scalarOf(field: DescField, kind: string, text: string): JsonValue | undefined | null {
  if (field.enum !== undefined) return enumOf(field.enum, kind, text);
  if (field.scalar === ScalarType.BOOL) return kind === 't' ? true : kind === 'f' ? false : null;
  if (field.scalar === ScalarType.STRING) return kind === '"' ? text : null;
  if (field.scalar === ScalarType.BYTES) return kind === '"' && isBase64(text) ? text : null;
  const [signed, bits] = INTEGER_BITS[field.scalar as ScalarType] ?? [];
  assert(signed !== undefined && bits !== undefined, "etcd's numbers are whole");
  return integerOf(text, signed, bits) ?? null;
}

function enumOf(
  { values }: NonNullable<DescField['enum']>,
  kind: string,
  text: string,
): JsonValue | undefined | null {
  if (kind === '"') return values.find(({ name }) => name === text)?.number;
  const number = integerOf(text, true, 32);
  return number === undefined ? null : Number(number);
}

/** As Go's decoders have it: either alphabet, padded when the length says so, and line ends do not count. */
function isBase64(text: string): boolean {
  const padded = text.length % 4 === 0;
  const characters = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, '') : text;
  const end = characters.search(/[-_]/.test(characters) ? NOT_BASE64_URL : NOT_BASE64);
  const padding = end === -1 ? '' : characters.slice(end);
  if (padded) return characters.length % 4 === 0 && (padding === '' || padding === '=' || padding === '==');
  return padding === '' && characters.length % 4 !== 1;
}

/** The digits of a whole number of so many bits, however it is written; undefined for all else. */
function integerOf(text: string, signed: boolean, bits: number): string | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = NUMBER.exec(text) ?? [];
  if (whole === '') return undefined;
  const digits = shifted(whole === '0' ? '' : whole, fraction.replace(/0+$/, ''), Number(exponent));
  if (digits === undefined) return undefined;
  const value = BigInt(`${digits === '0' ? '' : sign}${digits}`);
  const fits = signed ? BigInt.asIntN(bits, value) === value : BigInt.asUintN(bits, value) === value;
  return fits ? value.toString() : undefined;
}

/** The digits before the point when it is moved `by` digits to the right; undefined if any but zeros are after it. */
function shifted(whole: string, fraction: string, by: number): string | undefined {
  if (whole === '' && fraction === '') return '0';
  if (by >= 0) {
    if (fraction.length > by || whole.length + by > DIGITS_MAX) return undefined;
    return whole + fraction + '0'.repeat(by - fraction.length);
  }
  const point = whole.length + by;
  if (fraction !== '' || point <= 0 || /[1-9]/.test(whole.slice(point))) return undefined;
  return whole.slice(0, point);
}
