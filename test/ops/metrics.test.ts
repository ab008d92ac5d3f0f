import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import { storeMeter, uploadMeter } from '../../src/main/ops/meters.ts';
import { Metrics } from '../../src/main/ops/metrics.ts';
import { Distribution, exponentialBuckets } from '../../src/main/ops/series.ts';
import { ManualClock } from '../support/clock.ts';

describe('metrics', () => {
  it('shows what was counted, under the names that the documentation gives', async () => {
    const metrics = new Metrics();
    metrics.commitStageSeconds.upload.observe(0.02);
    metrics.batchRequests.observe(50);
    metrics.batchBytes.observe(5000);
    metrics.sequence.durable.set(42);
    metrics.watchers.unsynced.set(2);
    metrics.leases.set(5);
    const text = await metrics.text();
    for (const line of [
      'netsy_commit_stage_seconds_bucket{stage="upload",le="0.025"} 1',
      'netsy_commit_stage_seconds_count{stage="upload"} 1',
      'netsy_batch_requests_sum 50',
      'netsy_batch_bytes_bucket{le="16384"} 1',
      'netsy_sequence{state="durable"} 42',
      'netsy_watchers{state="unsynced"} 2',
      'netsy_leases 5',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    assert.equal(metrics.contentType, new Registry().contentType);
  });

  it("counts the processor time from the process's start, whenever it is asked first", async () => {
    const before = process.cpuUsage();
    const text = await new Metrics().text();
    for (const [name, micros] of [
      ['user_seconds', before.user],
      ['system_seconds', before.system],
      ['seconds', before.user + before.system],
    ] as const) {
      const [, value] = new RegExp(`^process_cpu_${name}_total (.*)$`, 'm').exec(text) ?? [];
      assert.ok(Number(value) >= micros / 1e6 && Number(value) < micros / 1e6 + 30, `${name}: ${value}`);
    }
  });

  it('counts calls by method and code, and shows a method that was never called as 0', async () => {
    const clock = new ManualClock();
    const metrics = new Metrics(clock);
    const range = metrics.calls('etcdserverpb.KV', 'Range', 'unary');
    metrics.calls('etcdserverpb.Watch', 'Watch', 'bidi_stream');
    const call = (code: number, ms: number): void => {
      range.received(10);
      const startedMs = range.started();
      clock.advance(ms);
      range.sent(100);
      range.handled(code, startedMs);
    };
    call(0, 1);
    call(0, 20);
    call(11, 20_000);
    const kv = 'grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"';
    await metrics.text();
    call(0, 1);
    const text = await metrics.text();
    for (const line of [
      `grpc_server_started_total{${kv}} 4`,
      `grpc_server_handled_total{grpc_code="OK",${kv}} 3`,
      `grpc_server_handled_total{grpc_code="OutOfRange",${kv}} 1`,
      `grpc_server_handling_seconds_bucket{${kv},le="0.005"} 2`,
      `grpc_server_handling_seconds_bucket{${kv},le="0.025"} 3`,
      `grpc_server_handling_seconds_bucket{${kv},le="+Inf"} 4`,
      `grpc_server_handling_seconds_count{${kv}} 4`,
      'etcd_network_client_grpc_received_bytes_total 40',
      'etcd_network_client_grpc_sent_bytes_total 400',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    assert.match(text, /grpc_server_handled_total{grpc_code="OK",grpc_method="Watch",.*} 0\n/);
    assert.equal(text.match(/grpc_server_handled_total{/g)?.length, 2 * 17, 'each code of each method');
    assert.doesNotMatch(text, /handling_seconds_count{.*"Watch"/, 'fourteen lines of zeros per method');
  });

  it('counts requests to the store, their errors by code, and what they cost', async () => {
    const metrics = new Metrics();
    const meter = storeMeter(metrics);
    const billed = true;
    meter.observe({ operation: 'putIfAbsent', outcome: 'ok', latencyMs: 20, bytes: 1000, billed });
    const failed = { operation: 'putIfAbsent', outcome: 'transient', latencyMs: 5, bytes: 0, billed };
    meter.observe({ ...failed, code: 'SlowDown' });
    meter.observe({ ...failed, code: 'SlowDown' });
    meter.observe({ ...failed, billed: false, code: 'ECONNREFUSED' });
    meter.observe({ ...failed, code: 'a store’s\n"own" words' });
    meter.observe({ operation: 'get', outcome: 'ok', latencyMs: 1, bytes: 7, billed });
    meter.observe({ operation: 'putMultipart', outcome: 'ok', latencyMs: 9, bytes: 20 * 2 ** 20, billed });
    const text = await metrics.text();
    for (const line of [
      'netsy_store_requests_total{operation="putIfAbsent",result="ok"} 1',
      'netsy_store_request_seconds_count{operation="putIfAbsent"} 5',
      'netsy_store_bytes_total{operation="putIfAbsent"} 1000',
      'netsy_store_errors_total{operation="putIfAbsent",code="SlowDown"} 2',
      'netsy_store_errors_total{operation="putIfAbsent",code="other"} 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    // Four PUTs, a GET, and an upload of three parts with its begin and end.
    const dollars = Number(text.match(/^netsy_store_cost_dollars_total (.*)$/m)?.[1]);
    assert.ok(Math.abs(dollars - (9 * 0.000005 + 0.0000004)) < 1e-12, String(dollars));
  });

  it('a store that invents error codes makes no more than a bounded number of series', async () => {
    const metrics = new Metrics();
    for (let i = 0; i < 1000; i++) metrics.store.failed('put', `Code${i}`);
    const series = (await metrics.text()).match(/^netsy_store_errors_total{/gm)?.length ?? 0;
    assert.ok(series <= 41, String(series));
    assert.match(await metrics.text(), /^netsy_store_errors_total{operation="put",code="other"} 960$/m);
  });

  it('says how many uploads were hedged, and how many the hedge won', async () => {
    const metrics = new Metrics();
    const count = uploadMeter(metrics);
    count({ request: 'put', outcome: 'created' });
    count({ request: 'hedge', outcome: 'exists' });
    count({ request: 'hedge', outcome: 'created' });
    const text = await metrics.text();
    assert.match(text, /^netsy_uploads_hedged_total 2$/m);
    assert.match(text, /^netsy_uploads_hedge_won_total 1$/m);
    assert.match(text, /^netsy_upload_attempts_total{request="hedge",result="exists"} 1$/m);
  });

  it('keeps two servers in one process apart', async () => {
    const [one, two] = [new Metrics(), new Metrics()];
    one.leases.set(1);
    two.leases.set(2);
    assert.match(await one.text(), /^netsy_leases 1$/m);
    assert.match(await two.text(), /^netsy_leases 2$/m);
  });

  it('a distribution puts each value into the first bucket that is not below it', () => {
    const bounds = exponentialBuckets(1, 2, 5);
    assert.deepEqual(bounds, [1, 2, 4, 8, 16]);
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 40, noNaN: true })), (values) => {
        const distribution = new Distribution(bounds);
        for (const value of values) distribution.observe(value);
        const wanted = [...bounds, Infinity].map(
          (bound, index) =>
            values.filter((value) => value <= bound && value > (bounds[index - 1] ?? -1)).length,
        );
        assert.deepEqual([...distribution.counts], wanted);
        assert.equal(distribution.count, values.length);
      }),
    );
  });
});
