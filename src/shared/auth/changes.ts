import { encodeRole, encodeUser, type Role, type User } from '../etcd/auth-messages.ts';
import type { SystemChange } from '../model/record.ts';
import { AUTH_ENABLED, AUTH_REVISION, AUTH_ROLES, AUTH_USERS } from './state.ts';

/** The entry of a user that is added or changed. */
export function userChange(user: User): SystemChange {
  return { name: AUTH_USERS + nameOf(user), value: encodeUser(user) };
}

/** The end of a user's entry. */
export function userRemoval(name: string): SystemChange {
  return { name: AUTH_USERS + name, value: undefined };
}

/** The entry of a role that is added or changed. */
export function roleChange(role: Role): SystemChange {
  return { name: AUTH_ROLES + nameOf(role), value: encodeRole(role) };
}

/** The end of a role's entry. */
export function roleRemoval(name: string): SystemChange {
  return { name: AUTH_ROLES + name, value: undefined };
}

/** The entry that says whether users and roles count. */
export function enabledChange(enabled: boolean): SystemChange {
  return { name: AUTH_ENABLED, value: Uint8Array.of(Number(enabled)) };
}

/** The entry of the auth store's revision. */
export function revisionChange(revision: number): SystemChange {
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(BigInt(revision));
  return { name: AUTH_REVISION, value };
}

/** etcd keeps names as bytes. */
function nameOf({ name }: User | Role): string {
  return Buffer.from(name).toString();
}
