/** The names of the server's own state that etcd's database has too, and with the same values. */
export const SystemName = {
  AuthEnabled: 'auth/enabled',
  AuthRevision: 'auth/revision',
  AuthUsers: 'auth/users/',
  AuthRoles: 'auth/roles/',
} as const;
