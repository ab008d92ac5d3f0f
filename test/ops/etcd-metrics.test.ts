import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KV, Lease, Maintenance, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { bytes, EtcdClient, failureOf } from '../support/etcd-client.ts';
import { type Family, parseExposition, valueIn } from '../support/exposition.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';

type Families = ReadonlyMap<string, Family>;

/** What etcd's own dashboard and alerts read, and what else ours has of etcd's names. */
const NAMES = `
  etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_server_leader_changes_seen_total
  etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_proposals_pending
  etcd_server_proposals_failed_total etcd_server_quota_backend_bytes etcd_server_version etcd_server_id
  etcd_server_health_success etcd_server_health_failures etcd_server_slow_apply_total etcd_cluster_version
  etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
  etcd_mvcc_put_total etcd_mvcc_delete_total etcd_mvcc_range_total etcd_mvcc_txn_total
  etcd_disk_wal_fsync_duration_seconds etcd_disk_wal_write_bytes_total etcd_disk_backend_commit_duration_seconds
  etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
  grpc_server_started_total grpc_server_handled_total grpc_server_handling_seconds
  grpc_server_msg_received_total grpc_server_msg_sent_total
  etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_slow_watcher_total
  etcd_debugging_mvcc_events_total etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_current_revision
  etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_total_put_size_in_bytes
  etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_db_compaction_last
  etcd_debugging_mvcc_keys_total etcd_disk_backend_defrag_duration_seconds etcd_disk_defrag_inflight
  etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total etcd_debugging_lease_renewed_total
  etcd_debugging_server_lease_expired_total etcd_debugging_auth_revision
  process_resident_memory_bytes process_open_fds process_max_fds process_cpu_seconds_total
`
  .trim()
  .split(/\s+/);

/** What etcd has besides; `docs/operations/metrics.md` says why not. Of its Go runtime (`go_…`) nothing is here. */
const NOT_HERE = `
  etcd_debugging_disk_backend_commit_rebalance_duration_seconds
  etcd_debugging_disk_backend_commit_spill_duration_seconds
  etcd_debugging_disk_backend_commit_write_duration_seconds etcd_debugging_lease_ttl_total
  etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds
  etcd_debugging_mvcc_db_compaction_total_duration_milliseconds
  etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds
  etcd_debugging_server_watch_send_loop_control_stream_duration_seconds
  etcd_debugging_server_watch_send_loop_progress_duration_seconds
  etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds
  etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds
  etcd_debugging_snap_save_marshalling_duration_seconds etcd_debugging_snap_save_total_duration_seconds
  etcd_debugging_store_expires_total etcd_debugging_store_watch_requests_total etcd_debugging_store_watchers
  etcd_disk_backend_snapshot_duration_seconds etcd_disk_wal_write_duration_seconds
  etcd_grpc_proxy_cache_hits_total etcd_grpc_proxy_cache_keys_total etcd_grpc_proxy_cache_misses_total
  etcd_grpc_proxy_events_coalescing_total etcd_grpc_proxy_watchers_coalescing_total
  etcd_mvcc_db_open_read_transactions etcd_mvcc_hash_duration_seconds etcd_mvcc_hash_rev_duration_seconds
  etcd_network_known_peers etcd_server_apply_duration_seconds etcd_server_client_requests_total
  etcd_server_feature_enabled etcd_server_go_version etcd_server_heartbeat_send_failures_total
  etcd_server_learner_promote_successes etcd_server_range_duration_seconds etcd_server_read_indexes_failed_total
  etcd_server_request_duration_seconds etcd_server_slow_read_indexes_total
  etcd_server_snapshot_apply_in_progress_total etcd_snap_db_fsync_duration_seconds
  etcd_snap_db_save_total_duration_seconds etcd_snap_fsync_duration_seconds os_fd_limit os_fd_used
  process_network_receive_bytes_total process_network_transmit_bytes_total process_virtual_memory_max_bytes
  promhttp_metric_handler_requests_in_flight promhttp_metric_handler_requests_total
`
  .trim()
  .split(/\s+/);

/** What both servers must say alike after the same operations. */
const SAME = `
  etcd_mvcc_put_total etcd_mvcc_delete_total etcd_mvcc_txn_total etcd_debugging_mvcc_total_put_size_in_bytes
  etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_slow_watcher_total
  etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_current_revision etcd_debugging_mvcc_compact_revision
  etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total etcd_debugging_lease_renewed_total
  etcd_server_has_leader etcd_server_is_leader etcd_debugging_mvcc_db_compaction_keys_total
  etcd_debugging_mvcc_keys_total etcd_disk_backend_defrag_duration_seconds_count etcd_disk_defrag_inflight
`
  .trim()
  .split(/\s+/);

async function scrape(endpoint: string): Promise<Families> {
  return parseExposition(await (await fetch(`${endpoint}/metrics`)).text());
}

function labelNames({ samples }: Family): string[] {
  return [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))].sort();
}

/** The bounds of a histogram's buckets, as numbers. */
function bounds({ samples }: Family): number[] {
  const all = samples.map(({ labels }) => labels['le']).filter((le) => le !== undefined);
  return [...new Set(all.map((le) => (le === '+Inf' ? Infinity : Number(le))))].sort((a, b) => a - b);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await condition()) return;
    await sleep(50);
  }
  assert.fail('it did not come about');
}

/** The same operations for both servers. */
async function work(authority: string, endpoint: string): Promise<() => void> {
  const client = new EtcdClient(authority);
  const { put, deleteRange, txn, range, compact } = KV.method;
  const key = (name: string): { key: Uint8Array } => ({ key: bytes(name) });
  for (const name of ['a', 'b', 'c']) await client.call(put, { ...key(name), value: bytes('value') });
  await client.call(deleteRange, key('a'));
  const putOp = (name: string) => ({
    request: { case: 'requestPut' as const, value: { ...key(name), value: bytes('12345') } },
  });
  await client.call(txn, { success: [putOp('d'), putOp('e')] });
  for (let i = 0; i < 5; i++) await client.call(range, key('b'));
  await failureOf(client.call(range, { ...key('b'), revision: 1_000n }));
  await client.call(compact, { revision: 6n, physical: true });
  await client.call(Maintenance.method.defragment, {});
  const lease = Lease.method;
  await client.call(lease.leaseGrant, { ID: 5n, TTL: 600n });
  await client.call(lease.leaseGrant, { ID: 6n, TTL: 600n });
  await client.exchange(lease.leaseKeepAlive, [{ ID: 5n }, { ID: 6n }]);
  await client.call(lease.leaseRevoke, { ID: 5n });
  let events = 0;
  const stream = client.open(
    Watch.method.watch,
    (message) => {
      events += message.events.length;
    },
    () => {},
  );
  const create = { requestUnion: { case: 'createRequest' as const, value: { ...key('w') } } };
  stream.send(create);
  stream.send(create);
  await until(async () => valueIn(await scrape(endpoint), 'etcd_debugging_mvcc_watcher_total') === 2);
  await client.call(put, key('w'));
  await until(async () => events === 2);
  return () => {
    stream.cancel();
    client.close();
  };
}

describe('metrics under etcd’s names, beside a real etcd', { timeout: 180_000 }, () => {
  let etcd: Etcd;
  let netsy: Netsy;
  let [theirs, ours]: [Families, Families] = [new Map(), new Map()];
  const closers: (() => void)[] = [];

  before(async () => {
    etcd = await startEtcd(join(temporaryDirectory(), 'etcd'), ['--metrics', 'extensive']);
    netsy = await startNetsy();
    for (const endpoint of [etcd.endpoint, netsy.endpoint]) {
      closers.push(await work(new URL(endpoint).host, endpoint));
      await fetch(`${endpoint}/health`);
    }
    theirs = await scrape(etcd.endpoint);
    ours = await scrape(netsy.endpoint);
  });

  after(async () => {
    for (const close of closers) close();
    await etcd?.process.stop();
    await netsy?.stop();
  });

  for (const name of NAMES) {
    it(`${name} has etcd's type, labels and buckets`, () => {
      const [their, our] = [theirs.get(name), ours.get(name)];
      assert.ok(their !== undefined, 'etcd has it');
      assert.ok(our !== undefined, 'netsy has it');
      assert.equal(our.type, their.type);
      assert.deepEqual(labelNames(our), labelNames(their));
      assert.deepEqual(bounds(our), bounds(their));
    });
  }

  it('what etcd has and netsy has not was decided one by one', () => {
    const missing = [...theirs.keys()].filter((name) => !ours.has(name) && !name.startsWith('go_'));
    assert.deepEqual(missing.sort(), [...NOT_HERE].sort());
  });

  it('what was done is counted as etcd counts it', () => {
    for (const name of SAME) assert.equal(valueIn(ours, name), valueIn(theirs, name), name);
    assert.equal(valueIn(ours, 'etcd_debugging_mvcc_events_total'), 2);
    assert.ok(valueIn(ours, 'etcd_mvcc_range_total') >= 5);
  });

  it('each code of each method is there from the start, so that the first failures are a rate, too', () => {
    const series = (families: Families): Set<string> => {
      const { samples } = families.get('grpc_server_handled_total') ?? { samples: [] };
      return new Set(
        samples.map(({ labels: { grpc_service, grpc_method, grpc_code } }) =>
          [grpc_service, grpc_method, grpc_code].join(' '),
        ),
      );
    };
    const here = series(ours);
    assert.deepEqual(
      [...series(theirs)].filter((one) => !here.has(one)),
      [],
    );
  });

  it('calls are counted by method and code as etcd counts them', () => {
    const kv = (method: string) => ({ grpc_service: 'etcdserverpb.KV', grpc_method: method });
    for (const [method, code] of [
      ['Put', 'OK'],
      ['Range', 'OK'],
      ['Range', 'OutOfRange'],
      ['Txn', 'OK'],
    ] as const) {
      const labels = { ...kv(method), grpc_code: code };
      const name = 'grpc_server_handled_total';
      assert.equal(valueIn(ours, name, labels), valueIn(theirs, name, labels), `${method} ${code}`);
    }
    for (const name of ['grpc_server_started_total', 'grpc_server_handling_seconds_count']) {
      assert.equal(valueIn(ours, name, kv('Range')), valueIn(theirs, name, kv('Range')), name);
    }
    const received = 'grpc_server_msg_received_total';
    const watch = { grpc_method: 'Watch', grpc_service: 'etcdserverpb.Watch' };
    assert.equal(valueIn(ours, received, watch), valueIn(theirs, received, watch));
    const bytesReceived = 'etcd_network_client_grpc_received_bytes_total';
    assert.equal(valueIn(ours, bytesReceived), valueIn(theirs, bytesReceived));
    const sent = 'etcd_network_client_grpc_sent_bytes_total';
    const ratio = valueIn(ours, sent) / valueIn(theirs, sent);
    // Ids in the headers differ in length.
    assert.ok(ratio > 0.8 && ratio < 1.25, `sent bytes: ${ratio}`);
  });

  it('sequences, the cache and what is written are there', () => {
    const committed = valueIn(ours, 'etcd_server_proposals_committed_total');
    assert.ok(committed >= 9, String(committed));
    assert.equal(valueIn(ours, 'netsy_sequence', { state: 'durable' }), committed);
    assert.ok(valueIn(ours, 'etcd_mvcc_db_total_size_in_bytes') > 4096);
    assert.ok(valueIn(ours, 'etcd_disk_wal_fsync_duration_seconds_count') >= 9);
    assert.ok(valueIn(ours, 'etcd_disk_wal_write_bytes_total') > 500);
    assert.ok(valueIn(ours, 'etcd_disk_backend_commit_duration_seconds_count') > 0);
    assert.equal(valueIn(ours, 'etcd_server_health_success'), 1);
    assert.equal(valueIn(ours, 'netsy_leadership', { state: 'leading' }), 1);
    assert.equal(valueIn(ours, 'netsy_restore_points'), 0);
    assert.ok(valueIn(ours, 'netsy_cache_bytes', { part: 'wal' }) > 0);
    assert.ok(valueIn(ours, 'netsy_store_cost_dollars_total') > 0);
  });

  it('without a quota the quota is infinite, so that etcd’s alerts on it keep quiet', () => {
    const quota = valueIn(ours, 'etcd_server_quota_backend_bytes');
    const used = valueIn(ours, 'etcd_mvcc_db_total_size_in_bytes');
    assert.equal((used / quota) * 100 > 95, false);
    assert.equal(quota, Number.POSITIVE_INFINITY);
  });
});
