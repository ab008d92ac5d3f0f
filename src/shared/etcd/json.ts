import { createRegistry, type DescMessage, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { file_etcdserverpb_rpc } from './gen/etcdserverpb/rpc_pb.ts';
import { file_v3electionpb_v3election } from './gen/v3electionpb/v3election_pb.ts';
import { file_v3lockpb_v3lock } from './gen/v3lockpb/v3lock_pb.ts';
import { readMessage } from './json-text.ts';
import { JsonError, JsonValues } from './json-values.ts';

/**
 * etcd's messages as JSON, the way its gateway has them: protobuf's JSON mapping with the names of the .proto files,
 * and without fields that have their default value. Field names of either style are taken, 64-bit numbers as strings
 * or as numbers, and fields that are not known are ignored.
 */

const WRITE = { useProtoFieldName: true } as const;
/** The reader before has a limit of its own, and answers nest no deeper than requests. */
const READ = { recursionLimit: 100_000 } as const;

/** A body is one message; a line is a message of a stream, in which etcd escapes what HTML takes for its own. */
export type JsonPlace = 'body' | 'line';

const messages = createRegistry(file_etcdserverpb_rpc, file_v3lockpb_v3lock, file_v3electionpb_v3election);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A message's description by its full name. Throws if etcd has none of that name. */
export function messageSchema(typeName: string): DescMessage {
  const schema = messages.getMessage(typeName);
  if (schema === undefined) throw new RangeError(`etcd has no message ${typeName}`);
  return schema;
}

/** An encoded message as JSON. */
export function messageToJson(schema: DescMessage, message: Uint8Array, place: JsonPlace): string {
  const json = JSON.stringify(toJson(schema, fromBinary(schema, message, READ), WRITE));
  return place === 'line' ? escapeHtml(json) : json;
}

/** JSON with the characters escaped that Go's encoding/json does not leave as they are. */
export function escapeHtml(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The message of an HTTP body: its first JSON value, or an empty message if it has none. Throws a `JsonError`. */
export function bodyToMessage(schema: DescMessage, body: Uint8Array): Uint8Array {
  const values = new JsonValues();
  values.push(body);
  const value = values.last();
  return value === undefined
    ? new Uint8Array(0)
    : toBinary(schema, fromJson(schema, readMessage(schema, textOf(value)), READ));
}

function textOf(json: Uint8Array): string {
  try {
    return utf8.decode(json).trimStart();
  } catch {
    throw new JsonError('proto: syntax error (line 1:1): invalid UTF-8 in string');
  }
}
