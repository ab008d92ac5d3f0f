import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import type { Seeded } from '../support/seeded.ts';

/** Random JSON for a message: right, nearly right, and broken. */

const DEPTH_MAX = 4;
const WRONG = [
  'null',
  'true',
  '-1',
  '1.5',
  '1e400',
  '"x"',
  '"\\ud800"',
  '[]',
  '{}',
  '[null]',
  '{"a":{"b":[{}]}}',
  '""',
  '"!"',
];
const TEXTS = ['', 'a', 'b', 'k/1', 'k/2', 'z', 'ä€😀'];
const NUMBERS = [
  '0',
  '1',
  '2',
  '100',
  '"1"',
  '"-1"',
  '9223372036854775807',
  '"9223372036854775808"',
  '1e3',
  '18446744073709551615',
];

/** A body for a route whose method takes this message. */
export function randomJson(random: Seeded, schema: DescMessage): string {
  const json = randomObject(random, schema, 0);
  const at = random.integer(0, json.length + 1);
  switch (random.integer(0, 10)) {
    case 0:
      return json.slice(0, at);
    case 1:
      return json.slice(0, at) + String.fromCharCode(random.integer(0, 256)) + json.slice(at + 1);
    case 2:
      return (
        json.slice(0, at) + random.pick(['{', '}', '[', ']', '"', ',', ':', '\\', '\u0000']) + json.slice(at)
      );
    case 3:
      return deep(random);
    case 4:
      return `${json}${random.pick(['', ' ', '\n'])}${randomObject(random, schema, 0)}`;
    default:
      return json;
  }
}

function deep(random: Seeded): string {
  const [open, close] = random.pick([
    ['[', ']'],
    ['{"a":', '}'],
    ['{"success":[{"request_txn":', '}]}'],
    ['{"key":[', ']}'],
  ] as const);
  const depth = random.pick([3, 200, 600, 9_000, 100_000]);
  return open.repeat(depth) + random.pick(['', '1']) + close.repeat(random.pick([0, depth]));
}

function randomObject(random: Seeded, schema: DescMessage, depth: number): string {
  const members: string[] = [];
  for (const field of schema.fields) {
    if (random.fraction() < 0.4) continue;
    const name = random.pick([field.name, field.jsonName]);
    const item = (): string =>
      random.fraction() < 0.05 ? random.pick(WRONG) : randomValue(random, field, depth);
    const items = Array.from({ length: random.integer(0, 4) }, item);
    members.push(`"${name}":${field.fieldKind === 'list' ? `[${items.join()}]` : item()}`);
  }
  if (random.fraction() < 0.05) members.push(`"unknown":${random.pick(WRONG)}`);
  if (random.fraction() < 0.02 && members[0] !== undefined) members.push(members[0]);
  return `{${members.join()}}`;
}

function randomValue(random: Seeded, field: DescField, depth: number): string {
  if (field.message !== undefined)
    return depth < DEPTH_MAX ? randomObject(random, field.message, depth + 1) : '{}';
  if (field.enum !== undefined)
    return random.pick(['0', '1', '2', '7', ...field.enum.values.map(({ name }) => `"${name}"`)]);
  if (field.scalar === ScalarType.BOOL) return random.pick(['true', 'false']);
  const text = random.pick(TEXTS);
  if (field.scalar === ScalarType.STRING) return JSON.stringify(text);
  if (field.scalar === ScalarType.BYTES)
    return JSON.stringify(Buffer.from(text).toString(random.pick(['base64', 'base64url'])));
  return random.pick(NUMBERS);
}
