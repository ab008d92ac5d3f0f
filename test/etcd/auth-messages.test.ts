import assert from 'node:assert/strict';
import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { decodeRole, decodeUser, encodeRole, encodeUser } from '../../src/shared/etcd/auth-messages.ts';
import { RoleSchema, UserSchema } from '../../src/shared/etcd/gen/authpb/auth_pb.ts';
import { MalformedMessageError } from '../../src/shared/etcd/wire.ts';
import { message, type Shape } from './fields.ts';
import { accepts } from './generated.ts';
import { property } from './property.ts';

/** Users and roles by hand are, byte by byte and field by field, what the generated code makes of them. */

const bytes = fc.uint8Array({ maxLength: 300 });
/** A record, with the prototype of an object. */
function made<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(fields, { noNullPrototype: true });
}

const users = made({
  name: bytes,
  password: bytes,
  roles: fc.array(fc.string({ unit: 'grapheme' })),
  options: fc.option(made({ noPassword: fc.boolean() }), { nil: undefined }),
});
const permissions = made({
  permType: fc.oneof(fc.integer({ min: 0, max: 2 }), fc.integer()),
  key: bytes,
  rangeEnd: bytes,
});
const roles = made({ name: bytes, keyPermission: fc.array(permissions) });

property('a user is encoded as by the generated code, and decoded from it', users, (user) => {
  const { options, ...fields } = user;
  const generated = toBinary(
    UserSchema,
    create(UserSchema, options === undefined ? fields : { ...fields, options }),
  );
  assert.deepEqual(encodeUser(user), generated);
  assert.deepEqual(decodeUser(generated), user);
});

property('a role is encoded as by the generated code, and decoded from it', roles, (role) => {
  const generated = toBinary(RoleSchema, create(RoleSchema, role));
  assert.deepEqual(encodeRole(role), generated);
  assert.deepEqual(decodeRole(generated), role);
});

const SHAPES: { schema: DescMessage; shape: Shape; decode: (bytes: Uint8Array) => object }[] = [
  { schema: UserSchema, shape: { 1: 'bytes', 2: 'bytes', 4: () => ({ 1: 'bool' }) }, decode: decodeUser },
  {
    schema: RoleSchema,
    shape: { 1: 'bytes', 2: () => ({ 1: 'enum', 2: 'bytes', 3: 'bytes' }) },
    decode: decodeRole,
  },
];

/** A generated message's own fields, without what only the generated code knows. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  const own = Object.entries(value).filter(([name]) => !name.startsWith('$'));
  return Object.fromEntries(own.map(([name, one]) => [name, plain(one)]));
}

for (const { schema, shape, decode } of SHAPES) {
  property(
    `${schema.name}: however it is laid out, it says what generated code says`,
    message(shape),
    (laid) => {
      const expected = plain(fromBinary(schema, laid) as Message) as object;
      assert.deepEqual(decode(laid), 'password' in expected ? { options: undefined, ...expected } : expected);
    },
  );

  const cut = fc.tuple(message(shape), fc.nat());
  property(
    `${schema.name}: cut anywhere, it is refused when generated code refuses it`,
    cut,
    ([laid, at]) => {
      const part = laid.slice(0, at % (laid.length + 1));
      if (accepts(schema, part)) decode(part);
      else assert.throws(() => decode(part), MalformedMessageError);
    },
  );
}
