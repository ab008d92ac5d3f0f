import {
  enabledChange,
  revisionChange,
  roleChange,
  roleRemoval,
  userChange,
  userRemoval,
} from '../../shared/auth/changes.ts';
import { type AuthInfo, AuthState, hasRootRole, NOBODY, ROOT } from '../../shared/auth/state.ts';
import { compareBytes, NO_BYTES } from '../../shared/base/bytes.ts';
import type { Permission, Role, User } from '../../shared/etcd/auth-messages.ts';
import {
  decodeChangePasswordRequest,
  decodeGrantPermissionRequest,
  decodeNameRequest,
  decodeRevokePermissionRequest,
  decodeUserAddRequest,
  decodeUserRoleRequest,
  type GrantPermissionRequest,
  type PasswordRequest,
  type PermissionFields,
  type RevokePermissionRequest,
  type UserRoleRequest,
} from '../../shared/etcd/auth-requests.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { isSingleKey, isUnbounded, type KeyRange } from '../../shared/model/key-range.ts';
import type { SystemChange } from '../../shared/model/record.ts';
import { WriteKind } from '../contract/writer.ts';

const BASE64_FORM = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The auth store as of the last evaluated request, and the requests that change it, with etcd's rules in etcd's
 * order (its server/auth/store.go). A request that fails changes nothing. Passwords arrive hashed.
 */
export class AuthEvaluator {
  readonly state = new AuthState();
  /** Who makes the request that is being evaluated. */
  caller: AuthInfo = NOBODY;
  /** Logs a change; it must come back through `state.change`. */
  readonly #log: (change: SystemChange) => void;

  constructor(system: ReadonlyMap<string, Uint8Array>, log: (change: SystemChange) => void) {
    for (const [name, value] of system) this.state.change({ name, value });
    this.#log = log;
  }

  /** Evaluates a request that changes the auth store. Throws etcd's error. */
  execute(kind: WriteKind, request: Uint8Array): void {
    this.state.checkAdmin(this.caller);
    switch (kind) {
      case WriteKind.AuthEnable:
        return this.#enable();
      case WriteKind.AuthDisable:
        return this.#disable();
      case WriteKind.UserAdd:
        return this.#userAdd(decodeUserAddRequest(request));
      case WriteKind.UserDelete:
        return this.#userDelete(decodeNameRequest(request));
      case WriteKind.UserChangePassword:
        return this.#userChangePassword(decodeChangePasswordRequest(request));
      case WriteKind.UserGrantRole:
        return this.#userGrantRole(decodeUserRoleRequest(request));
      case WriteKind.UserRevokeRole:
        return this.#userRevokeRole(decodeUserRoleRequest(request));
      case WriteKind.RoleAdd:
        return this.#roleAdd(decodeNameRequest(request));
      case WriteKind.RoleDelete:
        return this.#roleDelete(decodeNameRequest(request));
      case WriteKind.RoleGrantPermission:
        return this.#roleGrantPermission(decodeGrantPermissionRequest(request));
      case WriteKind.RoleRevokePermission:
        return this.#roleRevokePermission(decodeRevokePermissionRequest(request));
    }
    throw new RangeError(`no request of kind ${kind}`);
  }

  /** As in etcd, enabling does not count as a change of the store. */
  #enable(): void {
    if (this.state.enabled) return;
    const root = this.state.users.get(ROOT);
    if (root === undefined) throw new EtcdError('RootUserNotExist');
    if (!hasRootRole(root)) throw new EtcdError('RootRoleNotExist');
    this.#log(enabledChange(true));
  }

  #disable(): void {
    if (this.state.enabled) this.#commit(enabledChange(false));
  }

  #userAdd({ name, noPassword = false, hashedPassword }: PasswordRequest): void {
    if (name === '') throw new EtcdError('UserEmpty');
    if (this.state.users.has(name)) throw new EtcdError('UserAlreadyExist');
    const password = noPassword ? NO_BYTES : fromBase64(hashedPassword);
    this.#commit(userChange({ name: bytesOf(name), password, roles: [], options: { noPassword } }));
  }

  #userDelete(name: string): void {
    if (this.state.enabled && name === ROOT) throw new EtcdError('InvalidAuthMgmt');
    this.#user(name);
    this.#commit(userRemoval(name));
  }

  #userChangePassword({ name, hashedPassword }: PasswordRequest): void {
    const user = this.#user(name);
    const password = user.options?.noPassword ? NO_BYTES : fromBase64(hashedPassword);
    this.#commit(userChange({ ...user, password }));
  }

  #userGrantRole({ user: name, role }: UserRoleRequest): void {
    const user = this.#user(name);
    if (role !== ROOT) this.#role(role);
    if (user.roles.includes(role)) return;
    const roles = [...user.roles, role].sort((a, b) => compareBytes(bytesOf(a), bytesOf(b)));
    this.#commit(userChange({ ...user, roles }));
  }

  #userRevokeRole({ user: name, role }: UserRoleRequest): void {
    if (this.state.enabled && name === ROOT && role === ROOT) throw new EtcdError('InvalidAuthMgmt');
    const user = this.#user(name);
    if (!user.roles.includes(role)) throw new EtcdError('RoleNotGranted');
    this.#commit(userChange(withoutRole(user, role)));
  }

  #roleAdd(name: string): void {
    if (name === '') throw new EtcdError('RoleEmpty');
    if (this.state.roles.has(name)) throw new EtcdError('RoleAlreadyExist');
    this.#commit(roleChange({ name: bytesOf(name), keyPermission: [] }));
  }

  #roleDelete(name: string): void {
    if (this.state.enabled && name === ROOT) throw new EtcdError('InvalidAuthMgmt');
    this.#role(name);
    const holders = [...this.state.users.values()].filter(({ roles }) => roles.includes(name));
    this.#commit(roleRemoval(name), ...holders.map((user) => userChange(withoutRole(user, name))));
  }

  #roleGrantPermission({ role: name, perm }: GrantPermissionRequest): void {
    if (perm === undefined) throw new EtcdError('PermissionNotGiven');
    if (!isValidPermissionRange(perm)) throw new EtcdError('InvalidAuthMgmt');
    const role = this.#role(name);
    this.#commit(roleChange({ ...role, keyPermission: granted(role, perm) }));
  }

  #roleRevokePermission({ role: name, ...range }: RevokePermissionRequest): void {
    const role = this.#role(name);
    const keyPermission = role.keyPermission.filter((perm) => !isSameRange(perm, range));
    if (keyPermission.length === role.keyPermission.length) throw new EtcdError('PermissionNotGranted');
    this.#commit(roleChange({ ...role, keyPermission }));
  }

  #user(name: string): User {
    const user = this.state.users.get(name);
    if (user === undefined) throw new EtcdError('UserNotFound');
    return user;
  }

  #role(name: string): Role {
    const role = this.state.roles.get(name);
    if (role === undefined) throw new EtcdError('RoleNotFound');
    return role;
  }

  /** Logs changes that together are one change of the store. */
  #commit(...changes: SystemChange[]): void {
    const revision = this.state.revision + 1;
    for (const change of [...changes, revisionChange(revision)]) this.#log(change);
  }
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text));
}

function fromBase64(text: string): Uint8Array {
  // etcd answers a hash that is no base64 like this, whatever the words say.
  if (!BASE64_FORM.test(text)) throw new EtcdError('NoPasswordUser');
  return Buffer.from(text, 'base64');
}

function withoutRole(user: User, role: string): User {
  return { ...user, roles: user.roles.filter((name) => name !== role) };
}

/**
 * A role's permissions with one more, sorted by key. As in etcd only the first permission on a key is looked at for
 * one that is changed and not added.
 */
function granted(role: Role, { permType, key, rangeEnd }: PermissionFields): readonly Permission[] {
  const before = role.keyPermission;
  const perm: Permission = { permType, key, rangeEnd };
  const at = before.findIndex(({ key }) => compareBytes(key, perm.key) >= 0);
  const found = before[at];
  if (found !== undefined && isSameRange(found, perm)) {
    return before.with(at, perm);
  }
  return [...before, perm].sort((a, b) => compareBytes(a.key, b.key));
}

function isSameRange(a: KeyRange, b: KeyRange): boolean {
  return compareBytes(a.key, b.key) === 0 && compareBytes(a.rangeEnd, b.rangeEnd) === 0;
}

function isValidPermissionRange(range: KeyRange): boolean {
  if (range.key.length === 0) return false;
  return isSingleKey(range) || compareBytes(range.key, range.rangeEnd) < 0 || isUnbounded(range);
}
