import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  AlarmRequest_AlarmAction as Action,
  AlarmType,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';

async function alarm({ authority }: Netsy, action: Action): Promise<void> {
  const client = new EtcdClient(authority);
  await client.call(Maintenance.method.alarm, { action, alarm: AlarmType.NOSPACE });
  client.close();
}

/** The lines on alarms: level, message and type. */
function toldOf({ log }: Netsy): string[] {
  const lines = log()
    .split('\n')
    .filter((line) => line.includes('"alarm '))
    .map((line) => JSON.parse(line));
  return lines.map(
    ({ level, msg, alarm: type, member }) => `${level} ${msg} ${type} ${/^[0-9a-f]+$/.test(member)}`,
  );
}

it('an alarm is one warning in the log when it is raised, and at each start until it is disarmed', {
  timeout: 60_000,
}, async () => {
  const raised = 'warn alarm raised NOSPACE true';
  const first = await startNetsy();
  await alarm(first, Action.ACTIVATE);
  await alarm(first, Action.ACTIVATE);
  assert.deepEqual(toldOf(first), [raised]);
  await first.stop();
  const second = await startNetsy({ dataDir: first.dataDir });
  await alarm(second, Action.DEACTIVATE);
  assert.deepEqual(toldOf(second), [raised, 'info alarm disarmed NOSPACE true']);
  await second.stop();
});
