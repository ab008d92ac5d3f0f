import {
  Auth,
  KV,
  type PutResponse,
  type RangeResponse,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes } from '../support/etcd-client.ts';
import type { CallerClient, Shown } from './caller-client.ts';

/** Cheap hashes. */
export const CHEAP = ['--bcrypt-cost=4'];

/** Adds root with the password `root`, and enables auth; answers what root shows. */
export async function enableAuth(client: CallerClient): Promise<Shown> {
  await client.call(Auth.method.userAdd, { name: 'root', password: 'root' });
  await client.call(Auth.method.roleAdd, { name: 'root' });
  await client.call(Auth.method.userGrantRole, { user: 'root', role: 'root' });
  await client.call(Auth.method.authEnable, {});
  return client.login('root', 'root');
}

/** Adds a user with his name as password (none with `noPassword`) and a role of that name for [from, to). */
export async function addUser(
  client: CallerClient,
  root: Shown,
  name: string,
  [from, to]: readonly [string, string],
  noPassword = false,
): Promise<void> {
  const perm = { permType: 2, key: bytes(from), rangeEnd: bytes(to) };
  const secret = noPassword ? { options: { noPassword } } : { password: name };
  await client.call(Auth.method.userAdd, { name, ...secret }, root);
  await client.call(Auth.method.roleAdd, { name }, root);
  await client.call(Auth.method.roleGrantPermission, { name, perm }, root);
  await client.call(Auth.method.userGrantRole, { user: name, role: name }, root);
}

export function put(client: CallerClient, key: string, shown: Shown): Promise<PutResponse> {
  return client.call(KV.method.put, { key: bytes(key), value: bytes('v') }, shown);
}

export function range(client: CallerClient, key: string, shown: Shown): Promise<RangeResponse> {
  return client.call(KV.method.range, { key: bytes(key) }, shown);
}
