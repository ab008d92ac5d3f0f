import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Auth,
  KV,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { writeHistory } from '../moving/history.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { LogObjects } from '../support/log-objects.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { assertSame, failure, newStore, ranToItsEnd, type Served, served, servedFrom } from './tools.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const WRITES = 20;
const SNAPSHOT_AGE = ['--snapshot-age', '1s'];

/** A moment of the live server's, and what it served then. */
interface Moment {
  readonly name: string;
  readonly revision: bigint;
  readonly timeMs: number;
  readonly served: Served;
}

describe(`a restore is what the live server served then (seed ${SEED})`, { timeout: 240_000 }, () => {
  const moments: Moment[] = [];
  let netsy: Netsy;
  let client: EtcdClient;
  let log: LogObjects;
  let store: string;

  before(async () => {
    netsy = await startNetsy({ arguments: ['--snapshot-records', '1000000', '--retention', 'forever'] });
    client = new EtcdClient(netsy.authority);
    log = new LogObjects(join(netsy.dataDir, 'store'));
    store = pathToFileURL(log.directory).href;
  });
  after(async () => {
    client.close();
    await netsy.stop();
  });

  const put = (key: string): Promise<{ header?: { revision: bigint } | undefined }> =>
    client.call(KV.method.put, { key: bytes(key), value: bytes('x') });

  /** Notes what is served, and leaves the revision behind: what uses no revision may come after it. */
  async function note(name: string): Promise<void> {
    const { header } = await put(`moment/${name}`);
    const found = await served(netsy.authority);
    const timeMs = Date.now();
    await sleep(2);
    await put('after');
    moments.push({ name, revision: header!.revision, timeMs, served: found });
  }

  async function restart(flags: readonly string[]): Promise<void> {
    client.close();
    await netsy.stop();
    netsy = await startNetsy({ dataDir: netsy.dataDir, arguments: [...flags, '--retention', 'forever'] });
    client = new EtcdClient(netsy.authority);
  }

  async function untilSnapshotOfAll(): Promise<void> {
    const count = log.sequences('snapshots').length;
    while (log.sequences('snapshots').length === count) await sleep(50);
    while (log.sequences('snapshots').at(-1) !== log.sequences('chunks').at(-1)) await sleep(50);
  }

  it('writes a random history, with snapshots, compactions, leases, users and an alarm', async () => {
    await writeHistory(client, SEED, WRITES);
    await note('before the first snapshot');
    await client.call(Auth.method.userAdd, { name: 'one', password: 'one-pw' });
    await client.call(Auth.method.roleAdd, { name: 'role' });
    await restart(SNAPSHOT_AGE);
    await writeHistory(client, SEED + 1, WRITES);
    await put('snapshot');
    await untilSnapshotOfAll();
    await note('just after a snapshot');
    await untilSnapshotOfAll();
    await restart([]);
    await writeHistory(client, SEED + 2, WRITES);
    await client.call(Auth.method.userAdd, { name: 'two', password: 'two-pw' });
    await note('between snapshots');
    const { header } = await put('compacted');
    await client.call(KV.method.compact, { revision: header!.revision - 3n });
    await note('after a compaction');
    assert.ok(log.sequences('snapshots').length >= 2);
  });

  it('by revision or time, while the server goes on', async () => {
    const writing = writeHistory(client, SEED + 3, WRITES);
    for (const { name, revision, timeMs, served: wanted } of moments) {
      const into = newStore().url;
      const isByTime = name === 'between snapshots';
      const to = isByTime
        ? ['--to-time', new Date(timeMs).toISOString()]
        : ['--to-revision', String(revision)];
      const result = ranToItsEnd(['restore', '--store', store, ...to, '--into', into]);
      assert.equal(result['revision'], Number(revision), name);
      assertSame(await servedFrom(into), wanted);
    }
    await writing;
  });

  it('to the end, with an alarm, and again from what was restored', async () => {
    const alarm = { action: AlarmRequest_AlarmAction.ACTIVATE, memberID: 5n, alarm: AlarmType.NOSPACE };
    await client.call(Maintenance.method.alarm, alarm);
    const wanted = await served(netsy.authority);
    assert.equal(wanted.alarms.length, 1);
    const first = newStore().url;
    ranToItsEnd(['restore', '--store', store, '--into', first]);
    const revision = moments[3]!.revision;
    assert.match(
      failure(['restore', '--store', first, '--to-revision', String(revision), '--into', newStore().url]),
      /^netsy: revision \d+ is before what retention kept in .*: the first restore point is revision \d+, of /,
    );
    const second = newStore().url;
    ranToItsEnd(['restore', '--store', first, '--into', second]);
    assertSame(await servedFrom(second), wanted);
  });
});
