import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  AlarmRequest_AlarmAction,
  Auth,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { assertSameState, hashKvOf, type StoreState, stateOf } from '../moving/history.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';

/** A directory store that is not there yet. */
export function newStore(): { readonly directory: string; readonly url: string } {
  const directory = join(temporaryDirectory(), 'store');
  return { directory, url: pathToFileURL(directory).href };
}

/** What `--json` of a command that succeeded says. */
export function ranToItsEnd(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  const { code, stdout, stderr } = runNetsy([...words, '--json'], environment, 60_000);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** The last line on standard error of a command that must fail. */
export function failure(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): string {
  const { code, stdout, stderr } = runNetsy(words, environment, 60_000);
  assert.equal(code, 1, `${words.join(' ')} should have failed: ${stdout}${stderr}`);
  return stderr.trimEnd().split('\n').at(-1) ?? '';
}

/** Everything that clients can see of a server. */
export interface Served {
  readonly state: StoreState;
  readonly hashKv: object;
  readonly users: readonly string[];
  readonly roles: readonly string[];
  readonly alarms: readonly string[];
}

export async function served(authority: string): Promise<Served> {
  const client = new EtcdClient(authority);
  try {
    const { users } = await client.call(Auth.method.userList, {});
    const { roles } = await client.call(Auth.method.roleList, {});
    const { alarms } = await client.call(Maintenance.method.alarm, { action: AlarmRequest_AlarmAction.GET });
    const { events, ...state } = await stateOf(authority);
    return {
      // A copy: the watch that fills it goes on while the server does.
      state: { ...state, events: [...events] },
      hashKv: await hashKvOf(authority),
      users,
      roles,
      alarms: alarms.map(({ memberID, alarm }) => `${memberID} ${alarm}`),
    };
  } finally {
    client.close();
  }
}

export function assertSame(found: Served, wanted: Served): void {
  assertSameState(found.state, wanted.state);
  const { state: _, ...rest } = found;
  const { state: __, ...wantedRest } = wanted;
  assert.deepEqual(rest, wantedRest);
}

/** What a server on the store serves. */
export async function servedFrom(
  store: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const netsy = await startNetsy({ arguments: ['--store', store], environment });
  try {
    return await served(netsy.authority);
  } finally {
    await netsy.stop();
  }
}

/** Names, sizes and times of all files below `directory` but those that a running server renews. */
export function filesOf(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => !/^(lease|\.tmp)/.test(name))
    .map((name) => {
      const { size, mtimeMs } = statSync(join(directory, name));
      return `${name} ${size} ${mtimeMs}`;
    })
    .sort();
}
