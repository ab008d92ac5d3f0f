import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type AuthInfo, NOBODY, ROOT } from '../../shared/auth/state.ts';
import { compareBytes } from '../../shared/base/bytes.ts';
import type { Log } from '../../shared/base/log.ts';
import { PermissionType } from '../../shared/etcd/auth-messages.ts';
import {
  decodeAuthenticateRequest,
  decodeChangePasswordRequest,
  decodeGrantPermissionRequest,
  decodeNameRequest,
  decodeRevokePermissionRequest,
  decodeUserAddRequest,
  decodeUserRoleRequest,
  type PasswordRequest,
} from '../../shared/etcd/auth-requests.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import {
  AuthenticateResponseSchema,
  AuthRoleGetResponseSchema,
  AuthRoleListResponseSchema,
  AuthStatusResponseSchema,
  AuthUserAddRequestSchema,
  AuthUserChangePasswordRequestSchema,
  AuthUserGetResponseSchema,
  AuthUserListResponseSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { encodeHeaderOnlyResponse } from '../../shared/etcd/responses.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import { Passwords } from '../auth/passwords.ts';
import type { AuthStore } from '../auth/store.ts';
import type { WriteCallback } from '../commit/batch.ts';
import type { Caller } from './caller.ts';
import { asCaller, type Guard } from './guard.ts';
import type { Identity } from './identity.ts';
import { checkMessage, type Reply, type ServiceHandlers } from './service.ts';

export interface AuthParts {
  store: AuthStore;
  guard: Guard;
  identity: Identity;
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): void;
  maxRequestBytes: number;
  log: Log;
}

type Handler = (request: Buffer, reply: Reply, caller: Caller) => void;

const NO_RESPONSE = new Uint8Array(0);

/** As etcd answers for the root role, whatever was granted to it. */
const ROOT_PERMISSION = {
  permType: PermissionType.ReadWrite,
  key: new Uint8Array(0),
  rangeEnd: Uint8Array.of(0),
};

/**
 * etcd's Auth service. Changes are evaluated by the writer, in their turn among all writes; what is read is what is
 * durable. Passwords are hashed before they go anywhere.
 */
export function authHandlers(parts: AuthParts): ServiceHandlers {
  return { unary: { ...changes(parts), ...reads(parts), ...passwordHandlers(parts) } };
}

function changes(parts: AuthParts): Record<string, Handler> {
  return {
    AuthEnable: change(parts, WriteKind.AuthEnable, checkMessage),
    AuthDisable: change(parts, WriteKind.AuthDisable, checkMessage),
    UserDelete: change(parts, WriteKind.UserDelete, decodeNameRequest),
    UserGrantRole: change(parts, WriteKind.UserGrantRole, decodeUserRoleRequest),
    UserRevokeRole: change(parts, WriteKind.UserRevokeRole, decodeUserRoleRequest),
    RoleAdd: change(parts, WriteKind.RoleAdd, decodeNameRequest),
    RoleDelete: change(parts, WriteKind.RoleDelete, decodeNameRequest),
    RoleGrantPermission: change(parts, WriteKind.RoleGrantPermission, decodeGrantPermissionRequest),
    RoleRevokePermission: change(parts, WriteKind.RoleRevokePermission, decodeRevokePermissionRequest),
  };
}

/** A handler that refuses what `decode` throws for, before it asks who calls. */
function change(parts: AuthParts, kind: WriteKind, decode: (request: Buffer) => unknown): Handler {
  return (request, reply, caller) => {
    decode(request);
    identified(parts, caller, reply, (info) => submit(parts, info, kind, request, reply));
  };
}

function reads(parts: AuthParts): Record<string, Handler> {
  const { state } = parts.store;
  return {
    AuthStatus: read(parts, () => {
      const { enabled, revision } = state;
      return encoded(AuthStatusResponseSchema, { enabled, authRevision: BigInt(revision) });
    }),
    UserGet: read(parts, (request, info) => {
      const name = decodeNameRequest(request);
      if (name !== info.username) state.checkAdmin(info);
      const user = state.users.get(name);
      if (user === undefined) throw new EtcdError('UserNotFound');
      return encoded(AuthUserGetResponseSchema, { roles: [...user.roles] });
    }),
    UserList: read(parts, (_request, info) => {
      state.checkAdmin(info);
      return encoded(AuthUserListResponseSchema, { users: sortedNames(state.users) });
    }),
    RoleGet: read(parts, (request, info) => {
      const name = decodeNameRequest(request);
      const own = state.users.get(info.username)?.roles.includes(name) ?? false;
      if (!own) state.checkAdmin(info);
      const role = state.roles.get(name);
      if (role === undefined) throw new EtcdError('RoleNotFound');
      const perm = name === ROOT ? [ROOT_PERMISSION] : [...role.keyPermission];
      return encoded(AuthRoleGetResponseSchema, { perm });
    }),
    RoleList: read(parts, (_request, info) => {
      state.checkAdmin(info);
      return encoded(AuthRoleListResponseSchema, { roles: sortedNames(state.roles) });
    }),
  };
}

/** A handler that answers what `find` encodes, without a header. */
function read(parts: AuthParts, find: (request: Buffer, info: AuthInfo) => Uint8Array): Handler {
  return (request, reply, caller) => {
    checkMessage(request);
    identified(parts, caller, reply, (info) => {
      reply(undefined, withHeader(parts, find(request, info ?? NOBODY)));
    });
  };
}

function passwordHandlers(parts: AuthParts): Record<string, Handler> {
  return {
    UserAdd: (bytes, reply, caller) => {
      const request = decodeUserAddRequest(bytes);
      const hashed = request.noPassword !== true;
      changeHashed(parts, { kind: WriteKind.UserAdd, request, hashed, reply, caller });
    },
    UserChangePassword: (bytes, reply, caller) => {
      const request = decodeChangePasswordRequest(bytes);
      const hashed = request.password !== '';
      changeHashed(parts, { kind: WriteKind.UserChangePassword, request, hashed, reply, caller });
    },
    Authenticate: (bytes, reply) => {
      const { name, password } = decodeAuthenticateRequest(bytes);
      parts.store.authenticate(name, password).then(
        (token) => reply(undefined, withHeader(parts, encoded(AuthenticateResponseSchema, { token }))),
        (error: Error) => {
          parts.log.warn('invalid authentication was requested', { user: name, error: error.message });
          reply(error, NO_RESPONSE);
        },
      );
    },
  };
}

/** A request that sets a password; nothing past this file ever sees it. */
interface PasswordChange {
  kind: WriteKind;
  request: PasswordRequest;
  /** Whether the password counts, and not a hash or nothing at all. */
  hashed: boolean;
  reply: Reply;
  caller: Caller;
}

/** Hashes a password if there is one, but not for somebody who may not set it: hashing is costly. */
function changeHashed(parts: AuthParts, { kind, request, hashed, reply, caller }: PasswordChange): void {
  if (hashed) Passwords.check(request.password);
  identified(parts, caller, reply, (info) => {
    parts.store.state.checkAdmin(info);
    const send = async (): Promise<void> => {
      if (hashed) {
        const hash = await parts.store.passwords.hash(request.password);
        request.hashedPassword = Buffer.from(hash).toString('base64');
      }
      submit(parts, info, kind, withoutPassword(kind, request), reply);
    };
    send().catch((error: Error) => reply(error, NO_RESPONSE));
  });
}

/** The request encoded again, with the hash alone. */
function withoutPassword(kind: WriteKind, { name, hashedPassword, noPassword }: PasswordRequest): Uint8Array {
  if (kind === WriteKind.UserChangePassword) {
    return encoded(AuthUserChangePasswordRequestSchema, { name, hashedPassword });
  }
  const options = noPassword === undefined ? {} : { options: { noPassword } };
  return encoded(AuthUserAddRequestSchema, { name, hashedPassword, ...options });
}

function identified(
  parts: AuthParts,
  caller: Caller,
  reply: Reply,
  go: (info: AuthInfo | undefined) => void,
): void {
  parts.guard.identify(caller, (error) => reply(error, NO_RESPONSE), go);
}

function submit(
  parts: AuthParts,
  info: AuthInfo | undefined,
  kind: WriteKind,
  request: Uint8Array,
  reply: Reply,
): void {
  if (request.length > parts.maxRequestBytes) reply(new EtcdError('RequestTooLarge'), NO_RESPONSE);
  else parts.submit(...asCaller(info, kind, request), reply);
}

function encoded<S extends DescMessage>(schema: S, fields: MessageInitShape<S>): Uint8Array {
  return toBinary(schema, create(schema, fields));
}

/** A response with its header: field 1 in all of them, and messages may be written one after the other. */
function withHeader(parts: AuthParts, response: Uint8Array): Uint8Array {
  return Buffer.concat([encodeHeaderOnlyResponse(parts.identity.header()), response]);
}

function sortedNames(entries: ReadonlyMap<string, unknown>): string[] {
  return [...entries.keys()].sort((a, b) => compareBytes(Buffer.from(a), Buffer.from(b)));
}
