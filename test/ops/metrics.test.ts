import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Metrics } from '../../src/main/ops/metrics.ts';

describe('metrics', () => {
  it('shows what was counted, under the names that the documentation gives', async () => {
    const metrics = new Metrics();
    metrics.commitStageSeconds.upload.observe(0.02);
    metrics.batchRequests.observe(50);
    metrics.storeRequests('putIfAbsent', 'ok').add(3);
    metrics.storeRequestSeconds('putIfAbsent').observe(0.02);
    metrics.uploadsHedged.add(1);
    metrics.sequence.durable.set(42);
    metrics.watchers.unsynced.set(2);
    metrics.leases.set(5);
    metrics.hasLeader.set(1);
    const text = await metrics.text();
    for (const line of [
      'netsy_commit_stage_seconds_bucket{le="0.025",stage="upload"} 1',
      'netsy_commit_stage_seconds_count{stage="upload"} 1',
      'netsy_batch_requests_sum 50',
      'netsy_store_requests_total{operation="putIfAbsent",result="ok"} 3',
      'netsy_store_request_seconds_count{operation="putIfAbsent"} 1',
      'netsy_uploads_hedged_total 1',
      'netsy_sequence{state="durable"} 42',
      'netsy_watchers{state="unsynced"} 2',
      'netsy_leases 5',
      'etcd_server_has_leader 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    assert.match(text, /^process_cpu_seconds_total /m);
    assert.match(metrics.contentType, /^text\/plain/);
  });

  it('counts calls by method and code, and shows a method that was never called as 0', async () => {
    const metrics = new Metrics();
    const range = metrics.calls('etcdserverpb.KV', 'Range', 'unary');
    metrics.calls('etcdserverpb.Watch', 'Watch', 'bidi_stream');
    range.handled(0);
    range.handled(0);
    range.handled(11);
    const kv =
      'grpc_server_handled_total{grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Range"';
    await metrics.text();
    range.handled(0);
    const text = await metrics.text();
    assert.ok(text.includes(`${kv},grpc_code="OK"} 3\n`), 'calls before and after a scrape add up');
    assert.ok(text.includes(`${kv},grpc_code="OutOfRange"} 1\n`));
    assert.match(text, /grpc_method="Watch",grpc_code="OK"} 0\n/);
    assert.equal(text.match(/grpc_server_handled_total{/g)?.length, 3);
  });

  it('keeps two servers in one process apart', async () => {
    const [one, two] = [new Metrics(), new Metrics()];
    one.leases.set(1);
    two.leases.set(2);
    assert.match(await one.text(), /^netsy_leases 1$/m);
    assert.match(await two.text(), /^netsy_leases 2$/m);
  });
});
