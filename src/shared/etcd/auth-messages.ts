import type { KeyRange } from '../model/key-range.ts';
import { readText } from './auth-requests.ts';
import { delimitedSize, EMPTY_BYTES, int64Size, Reader, Writer } from './wire.ts';

/**
 * authpb's users and roles, as etcd's database and the server's own state have them. By hand, so that the threads that
 * hold the state need no descriptors, which take longer to load than all else that those threads are. Decoders throw
 * `MalformedMessageError`. Fields and numbers: etcd 3.7's auth.proto.
 */

/** authpb.Permission's type. */
export const PermissionType = { Read: 0, Write: 1, ReadWrite: 2 } as const;

/** authpb.Permission; a type that does not exist stands for none. */
export interface Permission extends KeyRange {
  readonly permType: number;
}

/** authpb.Role. */
export interface Role {
  readonly name: Uint8Array;
  readonly keyPermission: readonly Permission[];
}

/** authpb.User. */
export interface User {
  readonly name: Uint8Array;
  /** What bcrypt made of it. */
  readonly password: Uint8Array;
  readonly roles: readonly string[];
  readonly options: { readonly noPassword: boolean } | undefined;
}

export function encodeUser({ name, password, roles, options }: User): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  bytesField(writer, 10, name);
  bytesField(writer, 18, password);
  for (const role of roles) {
    writer.varint(26);
    writer.delimited(Buffer.from(role));
  }
  if (options !== undefined) {
    writer.varint(34);
    writer.delimited(options.noPassword ? Uint8Array.of(8, 1) : EMPTY_BYTES);
  }
  return writer.finish();
}

export function decodeUser(bytes: Uint8Array): User {
  const reader = new Reader(bytes);
  const roles: string[] = [];
  let [name, password] = [EMPTY_BYTES, EMPTY_BYTES];
  let options: User['options'];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) name = reader.bytes().slice();
    else if (tag === 18) password = reader.bytes().slice();
    else if (tag === 26) roles.push(readText(reader));
    else if (tag === 34) options = decodeOptions(reader, options);
    else reader.skip(tag);
  }
  return { name, password, roles, options };
}

function decodeOptions(reader: Reader, before: User['options']): User['options'] {
  let noPassword = before?.noPassword ?? false;
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) noPassword = reader.bool();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { noPassword };
}

export function encodeRole({ name, keyPermission }: Role): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  bytesField(writer, 10, name);
  for (const permission of keyPermission) {
    const { permType, key, rangeEnd } = permission;
    writer.varint(18);
    writer.varint((permType === 0 ? 0 : 1 + int64Size(permType)) + sizeOf(key) + sizeOf(rangeEnd));
    if (permType !== 0) {
      writer.varint(8);
      writer.int64(permType);
    }
    bytesField(writer, 18, key);
    bytesField(writer, 26, rangeEnd);
  }
  return writer.finish();
}

export function decodeRole(bytes: Uint8Array): Role {
  const reader = new Reader(bytes);
  const keyPermission: Permission[] = [];
  let name = EMPTY_BYTES;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) name = reader.bytes().slice();
    else if (tag === 18) keyPermission.push(decodePermission(reader));
    else reader.skip(tag);
  }
  return { name, keyPermission };
}

function decodePermission(reader: Reader): Permission {
  let permType: number = PermissionType.Read;
  let [key, rangeEnd] = [EMPTY_BYTES, EMPTY_BYTES];
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) permType = reader.int32();
    else if (tag === 18) key = reader.bytes().slice();
    else if (tag === 26) rangeEnd = reader.bytes().slice();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { permType, key, rangeEnd };
}

/** proto3 leaves out what is empty. */
function bytesField(writer: Writer, tag: number, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  writer.varint(tag);
  writer.delimited(bytes);
}

function sizeOf(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : 1 + delimitedSize(bytes.length);
}
