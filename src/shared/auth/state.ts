import { asBuffer } from '../base/bytes.ts';
import { decodeRole, decodeUser, PermissionType, type Role, type User } from '../etcd/auth-messages.ts';
import { EtcdError } from '../etcd/errors.ts';
import type { KeyRange } from '../model/key-range.ts';
import type { SystemChange } from '../model/record.ts';
import { RangeSet } from './range-set.ts';

/**
 * Users, roles, and whether they count: etcd's auth store (its server/auth/store.go) as entries of the server's own
 * state. A value is what etcd's database has under the same name: an authpb.User or authpb.Role, the byte 1 or 0,
 * and the revision as 8 bytes, big-endian.
 */
export const AUTH_PREFIX = 'auth/';
export const AUTH_ENABLED = 'auth/enabled';
export const AUTH_REVISION = 'auth/revision';
export const AUTH_USERS = 'auth/users/';
export const AUTH_ROLES = 'auth/roles/';

/** The user and the role that may do everything. */
export const ROOT = 'root';

/** etcd's revision of an auth store that was never changed. */
const FIRST_REVISION = 1;

/** Who makes a request: the user, and the auth store's revision that the user's token stands for. */
export interface AuthInfo {
  readonly username: string;
  readonly revision: number;
}

/** Whoever has shown neither token nor certificate. */
export const NOBODY: AuthInfo = { username: '', revision: 0 };

/** The server's own requests, such as the revoke of a lease that has ended: etcd makes them as root. */
export const SERVER_ITSELF: AuthInfo = { username: ROOT, revision: Number.MAX_SAFE_INTEGER };

type Access = 'read' | 'write';

/** What a user may read and write, from all roles together. */
type Permissions = Readonly<Record<Access, RangeSet>>;

/**
 * Everything that permission checks need, as of the changes taken in. The checks throw etcd's errors, and pass
 * whatever is asked while auth is disabled.
 */
export class AuthState {
  enabled = false;
  revision = FIRST_REVISION;
  readonly users = new Map<string, User>();
  readonly roles = new Map<string, Role>();
  /** By user, made when first needed. */
  readonly #permissions = new Map<string, Permissions>();

  /** Takes one change in; those of other rooms mean nothing here. */
  change({ name, value }: SystemChange): void {
    if (!name.startsWith(AUTH_PREFIX)) return;
    this.#permissions.clear();
    if (name === AUTH_ENABLED) this.enabled = value?.[0] === 1;
    else if (name === AUTH_REVISION) this.revision = value === undefined ? FIRST_REVISION : numberIn(value);
    else if (name.startsWith(AUTH_USERS)) {
      const user = name.slice(AUTH_USERS.length);
      if (value === undefined) this.users.delete(user);
      else this.users.set(user, decodeUser(value));
    } else if (name.startsWith(AUTH_ROLES)) {
      const role = name.slice(AUTH_ROLES.length);
      if (value === undefined) this.roles.delete(role);
      else this.roles.set(role, decodeRole(value));
    }
  }

  /** Throws unless the caller may read every key of `range`. */
  checkRead(info: AuthInfo, range: KeyRange): void {
    this.#checkAccess(info, range, 'read');
  }

  /** Throws unless the caller may write every key of `range`. */
  checkWrite(info: AuthInfo, range: KeyRange): void {
    this.#checkAccess(info, range, 'write');
  }

  /** Throws unless the caller is a user with the root role. How old the token is does not matter here. */
  checkAdmin(info: AuthInfo | undefined): void {
    if (!this.enabled) return;
    if (info === undefined || info.username === '') throw new EtcdError('UserEmpty');
    const user = this.users.get(info.username);
    if (user === undefined) throw new EtcdError('UserNotFound');
    if (!hasRootRole(user)) throw new EtcdError('PermissionDenied');
  }

  /** Whether `checkAdmin` passes. */
  isAdmin(info: AuthInfo | undefined): boolean {
    const user = info && this.users.get(info.username);
    return !this.enabled || (user !== undefined && info?.username !== '' && hasRootRole(user));
  }

  #checkAccess({ username, revision }: AuthInfo, range: KeyRange, access: Access): void {
    if (!this.enabled) return;
    if (revision === 0) throw new EtcdError('UserEmpty');
    if (revision < this.revision) throw new EtcdError('AuthOldRevision');
    const user = this.users.get(username);
    if (user === undefined) throw new EtcdError('PermissionDenied');
    if (hasRootRole(user)) return;
    if (!this.#permissionsOf(username, user)[access].covers(range)) throw new EtcdError('PermissionDenied');
  }

  #permissionsOf(username: string, user: User): Permissions {
    const known = this.#permissions.get(username);
    if (known !== undefined) return known;
    const all = user.roles.flatMap((role) => this.roles.get(role)?.keyPermission ?? []);
    const ranges = (withType: number): RangeSet => {
      const types: number[] = [withType, PermissionType.ReadWrite];
      return new RangeSet(all.filter(({ permType }) => types.includes(permType)));
    };
    const made = { read: ranges(PermissionType.Read), write: ranges(PermissionType.Write) };
    this.#permissions.set(username, made);
    return made;
  }
}

/** Whether the user may do everything. */
export function hasRootRole(user: User): boolean {
  return user.roles.includes(ROOT);
}

function numberIn(value: Uint8Array): number {
  return Number(asBuffer(value).readBigUInt64BE());
}
