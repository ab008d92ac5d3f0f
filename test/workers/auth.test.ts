import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etcdErrorId } from '../../src/shared/etcd/errors.ts';
import {
  AuthRoleAddRequestSchema,
  AuthUserAddRequestSchema,
  AuthUserGrantRoleRequestSchema,
  AuthUserRevokeRoleRequestSchema,
  PutRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { encodeCalledWrite } from '../../src/workers/contract/caller.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { bytes } from '../support/etcd-client.ts';
import { LocalWriter, type Write, write } from './local-writer.ts';

function as(username: string, revision: number, { kind, request }: Write): Write {
  return { kind: WriteKind.As, request: encodeCalledWrite({ kind, info: { username, revision }, request }) };
}

const PUT = write(WriteKind.Put, PutRequestSchema, { key: bytes('a') });
const NO_BYTES = new Uint8Array(0);
const ENABLE: Write = { kind: WriteKind.AuthEnable, request: NO_BYTES };
/** Users root and other, both with the root role: five changes, after which the store's revision is 6. */
const SETUP: readonly Write[] = [
  ...['root', 'other'].map((name) => write(WriteKind.UserAdd, AuthUserAddRequestSchema, { name })),
  write(WriteKind.RoleAdd, AuthRoleAddRequestSchema, { name: 'root' }),
  ...['root', 'other'].map((user) =>
    write(WriteKind.UserGrantRole, AuthUserGrantRoleRequestSchema, { user, role: 'root' }),
  ),
  ENABLE,
];
const OK = 0;

function tagsOf(writer: LocalWriter, writes: readonly Write[]): number[] {
  return writer.evaluate(writes).map(({ tag }) => tag);
}

function newWriter(): LocalWriter {
  const writer = new LocalWriter();
  writer.begin();
  return writer;
}

test('within one batch each write is checked as its own caller against the changes before it', () => {
  const writer = newWriter();
  const revoke = write(WriteKind.UserRevokeRole, AuthUserRevokeRoleRequestSchema, {
    name: 'other',
    role: 'root',
  });
  const tags = tagsOf(writer, [
    PUT,
    ...SETUP,
    as('other', 6, PUT),
    // Names nobody, right after somebody.
    PUT,
    as('root', 6, revoke),
    as('other', 6, PUT),
    as('other', 7, PUT),
    as('root', 7, { kind: WriteKind.AuthDisable, request: NO_BYTES }),
    PUT,
  ]);
  const [empty, old, denied] = (['UserEmpty', 'AuthOldRevision', 'PermissionDenied'] as const).map(
    etcdErrorId,
  );
  assert.deepEqual(tags, [OK, ...SETUP.map(() => OK), OK, empty, OK, old, denied, OK, OK]);
  writer.close();
});

test('users, roles and their revision come back from the log, also to who only follows it', () => {
  const writer = newWriter();
  tagsOf(writer, SETUP);
  writer.apply(1);
  const follower = new LocalWriter();
  follower.load(writer.chunks);
  assert.deepEqual(follower.dump()['system'], writer.dump()['system']);
  follower.begin();
  const tags = tagsOf(follower, [PUT, as('root', 5, PUT), as('root', 6, PUT)]);
  assert.deepEqual(tags, [etcdErrorId('UserEmpty'), etcdErrorId('AuthOldRevision'), OK]);
  writer.close();
  follower.close();
});
