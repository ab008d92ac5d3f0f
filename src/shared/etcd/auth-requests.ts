import type { KeyRange } from '../model/key-range.ts';
import { EMPTY_BYTES, MalformedMessageError, Reader } from './wire.ts';

/**
 * The requests of etcd's Auth service. Every decoder throws `MalformedMessageError` and nothing else; a string that
 * is not UTF-8 is malformed, as in Go. Fields and numbers: etcd 3.7's rpc.proto and auth.proto.
 */

/** Auth.Authenticate. */
export interface AuthenticateRequest {
  name: string;
  password: string;
}

/** Auth.UserAdd and Auth.UserChangePassword; only the first has options. */
export interface PasswordRequest {
  name: string;
  password: string;
  /** In base64; takes the password's place. */
  hashedPassword: string;
  /** Undefined: the sender gave no options. */
  noPassword: boolean | undefined;
}

/** Auth.UserGrantRole and Auth.UserRevokeRole. */
export interface UserRoleRequest {
  user: string;
  role: string;
}

/** authpb.Permission; its type is READ 0, WRITE 1 or READWRITE 2. */
export interface PermissionFields extends KeyRange {
  permType: number;
}

/** Auth.RoleGrantPermission. */
export interface GrantPermissionRequest {
  role: string;
  perm: PermissionFields | undefined;
}

/** Auth.RoleRevokePermission. */
export interface RevokePermissionRequest extends KeyRange {
  role: string;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A string field; one that is not UTF-8 is malformed. */
export function readText(reader: Reader): string {
  const bytes = reader.bytes();
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new MalformedMessageError('string field contains invalid UTF-8');
  }
}

/** UserGet, UserDelete, RoleAdd, RoleGet and RoleDelete: a name is all that they say. */
export function decodeNameRequest(bytes: Uint8Array): string {
  return decodeAuthenticateRequest(bytes, false).name;
}

/** Decodes an `AuthenticateRequest`; without `password`, a message that has only its first field. */
export function decodeAuthenticateRequest(bytes: Uint8Array, password = true): AuthenticateRequest {
  const reader = new Reader(bytes);
  const out: AuthenticateRequest = { name: '', password: '' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.name = readText(reader);
    else if (tag === 18 && password) out.password = readText(reader);
    else reader.skip(tag);
  }
  return out;
}

/** Decodes a `UserGrantRole` or `UserRevokeRole` request. */
export function decodeUserRoleRequest(bytes: Uint8Array): UserRoleRequest {
  const { name: user, password: role } = decodeAuthenticateRequest(bytes);
  return { user, role };
}

/** Decodes a `UserAdd` request. */
export function decodeUserAddRequest(bytes: Uint8Array): PasswordRequest {
  const reader = new Reader(bytes);
  const out: PasswordRequest = { name: '', password: '', hashedPassword: '', noPassword: undefined };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.name = readText(reader);
    else if (tag === 18) out.password = readText(reader);
    else if (tag === 26) out.noPassword = readOptions(reader, out.noPassword ?? false);
    else if (tag === 34) out.hashedPassword = readText(reader);
    else reader.skip(tag);
  }
  return out;
}

function readOptions(reader: Reader, seen: boolean): boolean {
  const outer = reader.enter();
  let noPassword = seen;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) noPassword = reader.bool();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return noPassword;
}

/** Decodes a `UserChangePassword` request. */
export function decodeChangePasswordRequest(bytes: Uint8Array): PasswordRequest {
  const reader = new Reader(bytes);
  const out: PasswordRequest = { name: '', password: '', hashedPassword: '', noPassword: undefined };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.name = readText(reader);
    else if (tag === 18) out.password = readText(reader);
    else if (tag === 26) out.hashedPassword = readText(reader);
    else reader.skip(tag);
  }
  return out;
}

/** Decodes a `RoleGrantPermission` request. */
export function decodeGrantPermissionRequest(bytes: Uint8Array): GrantPermissionRequest {
  const reader = new Reader(bytes);
  const out: GrantPermissionRequest = { role: '', perm: undefined };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.role = readText(reader);
    else if (tag === 18) out.perm = readPermission(reader, out.perm);
    else reader.skip(tag);
  }
  return out;
}

function readPermission(reader: Reader, seen: PermissionFields | undefined): PermissionFields {
  const out = seen ?? { permType: 0, key: EMPTY_BYTES, rangeEnd: EMPTY_BYTES };
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.permType = reader.int32();
    else if (tag === 18) out.key = reader.bytes();
    else if (tag === 26) out.rangeEnd = reader.bytes();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return out;
}

/** Decodes a `RoleRevokePermission` request. */
export function decodeRevokePermissionRequest(bytes: Uint8Array): RevokePermissionRequest {
  const reader = new Reader(bytes);
  const out: RevokePermissionRequest = { role: '', key: EMPTY_BYTES, rangeEnd: EMPTY_BYTES };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.role = readText(reader);
    else if (tag === 18) out.key = reader.bytes();
    else if (tag === 26) out.rangeEnd = reader.bytes();
    else reader.skip(tag);
  }
  return out;
}
