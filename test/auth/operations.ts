import fc from 'fast-check';

/** One call of the differential test: who makes it, and what is asked, in the words of etcd's JSON. */
export interface Operation {
  readonly rpc: Rpc;
  readonly as: Persona;
  readonly request: object;
}

/**
 * Who calls: nobody, somebody with a token that never was, or a user with the newest or the first token that he was
 * given in this sequence.
 */
export type Persona = 'nobody' | 'forger' | `${UserName}:${'new' | 'first'}`;

type UserName = (typeof USERS)[number];
const USERS = ['root', 'alice', 'bob', 'carol'] as const;
const ROLES = ['root', 'reader', 'writer'] as const;
/** root has one of these as long as auth is enabled, so that the next sequence can disable it. */
export const PASSWORDS = ['one', 'two'] as const;
const LEASES = [1n, 2n] as const;

export type Rpc =
  | 'AuthEnable'
  | 'AuthDisable'
  | 'AuthStatus'
  | 'Authenticate'
  | 'UserAdd'
  | 'UserGet'
  | 'UserList'
  | 'UserDelete'
  | 'UserChangePassword'
  | 'UserGrantRole'
  | 'UserRevokeRole'
  | 'RoleAdd'
  | 'RoleGet'
  | 'RoleList'
  | 'RoleDelete'
  | 'RoleGrantPermission'
  | 'RoleRevokePermission'
  | 'Range'
  | 'RangeStream'
  | 'Put'
  | 'DeleteRange'
  | 'Txn'
  | 'Compact'
  | 'LeaseGrant'
  | 'LeaseRevoke'
  | 'LeaseTimeToLive'
  | 'LeaseLeases'
  | 'LeaseKeepAlive'
  | 'Watch'
  | 'Status'
  | 'Alarm'
  | 'Hash'
  | 'MemberList'
  | 'MemberRemove';

const bytes = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, 'latin1'));

const KEYS = ['a', 'a\0', 'b', 'c', 'd', 'e'];
const key = fc.constantFrom(...KEYS).map(bytes);
/** Single keys, ranges that end after they begin, and ranges without an end. */
const range = fc.oneof(
  { weight: 3, arbitrary: key.map((one) => ({ key: one, rangeEnd: bytes('') })) },
  {
    weight: 3,
    arbitrary: fc.subarray(KEYS, { minLength: 2, maxLength: 2 }).map(([from, to]) => ({
      key: bytes(from!),
      rangeEnd: bytes(to!),
    })),
  },
  { weight: 1, arbitrary: key.map((one) => ({ key: one, rangeEnd: bytes('\0') })) },
  { weight: 1, arbitrary: fc.constant({ key: bytes('\0'), rangeEnd: bytes('\0') }) },
);
const READABLE = { key: bytes('a'), rangeEnd: bytes('c') };
const WRITABLE = { key: bytes('c'), rangeEnd: bytes('e') };
const user = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom<string>(...USERS) },
  fc.constantFrom('', 'zoe', 'dave'),
);
const role = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom<string>(...ROLES) },
  fc.constantFrom('', 'none'),
);
const password = fc.constantFrom<string>(...PASSWORDS);
const lease = fc.constantFrom(0n, 0n, ...LEASES);
const flag = fc.boolean();

const put = fc.record({ key, value: fc.constantFrom('x', 'y').map(bytes), lease, prevKv: flag });
const deletion = fc.tuple(range, flag).map(([where, prevKv]) => ({ ...where, prevKv }));
const readOp = range.map((value) => ({ request: { case: 'requestRange', value } }));
const op = fc.oneof(
  readOp,
  put.map((value) => ({ request: { case: 'requestPut', value } })),
  deletion.map((value) => ({ request: { case: 'requestDeleteRange', value } })),
);
const compare = fc.tuple(range, fc.nat(3)).map(([where, version]) => ({
  ...where,
  result: 1,
  target: 0,
  targetUnion: { case: 'version', value: BigInt(version) },
}));

function txnOf(inner: fc.Arbitrary<unknown>): fc.Arbitrary<object> {
  const ops = fc.array(inner, { maxLength: 2 });
  return fc.record({ compare: fc.array(compare, { maxLength: 2 }), success: ops, failure: ops });
}
const innerTxn = txnOf(op).map((value) => ({ request: { case: 'requestTxn', value } }));
const txn = fc.oneof(txnOf(readOp), txnOf(fc.oneof({ weight: 3, arbitrary: op }, innerTxn)));

const persona = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom<Persona>('root:new', 'root:new', 'root:first') },
  {
    weight: 12,
    arbitrary: fc
      .tuple(fc.constantFrom('alice', 'bob', 'carol'), fc.constantFrom('new', 'new', 'first'))
      .map(([name, which]) => `${name}:${which}` as Persona),
  },
  { weight: 2, arbitrary: fc.constantFrom<Persona>('nobody', 'forger') },
);
/** Changes of users and roles succeed often enough to matter. */
const mostlyRoot = fc.oneof({ weight: 5, arbitrary: fc.constant<Persona>('root:new') }, persona);

function by(as: fc.Arbitrary<Persona>, rpc: Rpc, request: fc.Arbitrary<object>): fc.Arbitrary<Operation> {
  return fc.record({ rpc: fc.constant(rpc), as, request });
}

const nothing = fc.constant({});
const named = user.map((name) => ({ name }));
const grant = fc.record({
  name: role,
  perm: fc.option(
    fc.tuple(range, fc.nat(2)).map(([where, permType]) => ({ ...where, permType })),
    { freq: 12, nil: undefined },
  ),
});
const badGrant = fc.record({
  name: role,
  perm: fc.constantFrom(
    { permType: 0, key: bytes(''), rangeEnd: bytes('\0') },
    { permType: 0, key: bytes('c'), rangeEnd: bytes('a') },
  ),
});
/** root can always show a password, see PASSWORDS. */
const added = fc.oneof(
  { weight: 6, arbitrary: fc.record({ name: user, password }) },
  fc.constant({ name: 'carol', options: { noPassword: true }, password: 'ignored' }),
  fc.constant({ name: 'carol', password: 'x'.repeat(73) }),
);
const changed = fc.oneof(
  { weight: 6, arbitrary: fc.record({ name: user, password }) },
  fc.constantFrom(
    { name: 'carol', password: '' },
    { name: 'carol', password: 'x'.repeat(73) },
    { name: 'carol', hashedPassword: 'no base64!' },
  ),
);
const login = fc.oneof(
  { weight: 8, arbitrary: fc.record({ name: user, password }) },
  fc.constant({ name: 'carol', password: 'x'.repeat(80) }),
);
const watched = fc.tuple(range, fc.constantFrom(0n, 0n, 0n, -1n)).map(([where, startRevision]) => ({
  requestUnion: { case: 'createRequest', value: { ...where, startRevision } },
}));

const authChange = fc.oneof(
  by(mostlyRoot, 'UserAdd', added),
  by(mostlyRoot, 'UserDelete', named),
  by(mostlyRoot, 'UserChangePassword', changed),
  by(mostlyRoot, 'UserGrantRole', fc.record({ user, role })),
  by(mostlyRoot, 'UserRevokeRole', fc.record({ name: user, role })),
  by(
    mostlyRoot,
    'RoleAdd',
    role.map((name) => ({ name })),
  ),
  by(
    mostlyRoot,
    'RoleDelete',
    role.map((name) => ({ role: name })),
  ),
  { weight: 4, arbitrary: by(mostlyRoot, 'RoleGrantPermission', grant) },
  by(mostlyRoot, 'RoleGrantPermission', badGrant),
  {
    weight: 2,
    arbitrary: by(
      mostlyRoot,
      'RoleRevokePermission',
      fc.oneof(
        fc.constantFrom<object>({ role: 'reader', ...READABLE }, { role: 'writer', ...WRITABLE }),
        fc.tuple(role, range).map(([name, where]) => ({ role: name, ...where })),
      ),
    ),
  },
);

const authRead = fc.oneof(
  by(persona, 'AuthStatus', nothing),
  by(persona, 'UserGet', named),
  by(persona, 'UserList', nothing),
  by(
    persona,
    'RoleGet',
    role.map((name) => ({ role: name })),
  ),
  by(persona, 'RoleList', nothing),
);

const keyValue = fc.oneof(
  { weight: 3, arbitrary: by(persona, 'Range', range) },
  by(persona, 'RangeStream', range),
  { weight: 4, arbitrary: by(persona, 'Put', put) },
  { weight: 2, arbitrary: by(persona, 'DeleteRange', deletion) },
  { weight: 4, arbitrary: by(persona, 'Txn', txn) },
  by(persona, 'Put', fc.constant({ value: bytes('without a key') })),
  by(persona, 'Range', fc.constant({ key: bytes('a'), sortOrder: 9 })),
  by(persona, 'Txn', fc.constant({ compare: [{ targetUnion: { case: 'version', value: 1n } }] })),
  by(persona, 'Compact', fc.record({ revision: fc.constantFrom(1n, 2n, 1_000_000n) })),
);

const leases = fc.oneof(
  {
    weight: 2,
    arbitrary: by(
      persona,
      'LeaseGrant',
      fc.constantFrom(...LEASES).map((ID) => ({ ID, TTL: 9999n })),
    ),
  },
  by(
    persona,
    'LeaseRevoke',
    fc.constantFrom(...LEASES).map((ID) => ({ ID })),
  ),
  by(
    persona,
    'LeaseKeepAlive',
    fc.constantFrom(...LEASES).map((ID) => ({ ID })),
  ),
  {
    weight: 2,
    arbitrary: by(persona, 'LeaseTimeToLive', fc.record({ ID: fc.constantFrom(...LEASES), keys: flag })),
  },
  by(persona, 'LeaseLeases', nothing),
);

const others = fc.oneof(
  { weight: 4, arbitrary: by(persona, 'Watch', watched) },
  by(persona, 'Status', nothing),
  by(persona, 'Alarm', fc.constantFrom({ action: 0 }, { action: 2, alarm: 2 })),
  by(persona, 'Hash', nothing),
  by(persona, 'MemberList', nothing),
  by(persona, 'MemberRemove', fc.constant({ ID: 1n })),
);

/** Any operation, those that change what the others may do and those that need permissions in good measure. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 7, arbitrary: authChange },
  { weight: 3, arbitrary: authRead },
  { weight: 6, arbitrary: by(fc.constant<Persona>('nobody'), 'Authenticate', login) },
  { weight: 10, arbitrary: keyValue },
  { weight: 5, arbitrary: leases },
  { weight: 4, arbitrary: others },
  { weight: 1, arbitrary: by(persona, 'AuthDisable', nothing) },
  { weight: 1, arbitrary: by(persona, 'AuthEnable', nothing) },
);

const admin = (rpc: Rpc, request: object): Operation => ({ rpc, as: 'nobody', request });

/** What each sequence begins with: three users and root, who have logged in; roles on parts of the keys. */
export const BEGINNING: readonly Operation[] = [
  ...USERS.map((name) => admin('UserAdd', { name, password: 'one' })),
  ...ROLES.map((name) => admin('RoleAdd', { name })),
  admin('UserGrantRole', { user: 'root', role: 'root' }),
  admin('UserGrantRole', { user: 'alice', role: 'reader' }),
  admin('UserGrantRole', { user: 'alice', role: 'writer' }),
  admin('UserGrantRole', { user: 'bob', role: 'writer' }),
  admin('RoleGrantPermission', {
    name: 'reader',
    perm: { permType: 0, ...READABLE },
  }),
  admin('RoleGrantPermission', {
    name: 'writer',
    perm: { permType: 2, ...WRITABLE },
  }),
  // A lease whose end deletes what only some may write.
  ...LEASES.map((ID) => admin('LeaseGrant', { ID, TTL: 9999n })),
  admin('Put', { key: bytes('c'), value: bytes('x'), lease: 1n }),
  admin('Put', { key: bytes('b'), value: bytes('x'), lease: 2n }),
  admin('UserAdd', { name: 'dave', options: { noPassword: true } }),
  admin('AuthEnable', {}),
  ...USERS.map((name) => admin('Authenticate', { name, password: 'one' })),
];
