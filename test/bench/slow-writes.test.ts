import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pausesBetween } from '../../bench/measure/pauses.ts';
import { slowWritesBetween, totalsIn } from '../../bench/measure/slow-writes.ts';
import { emptyOutcome } from '../../bench/outcome.ts';
import { reportHtml } from '../../bench/report/html.ts';
import { pauseTable } from '../../bench/report/pauses.ts';
import { SLOW_WRITE_TITLES, slowWriteRows, slowWriteTable } from '../../bench/report/slow-writes.ts';
import { WRITE_STAGES } from '../../src/main/commit/write-time.ts';
import { Metrics } from '../../src/main/ops/metrics.ts';
import { recorder } from '../../src/shared/base/pauses.ts';
import { phaseResult } from './results.ts';

const noTime = { gather: 0, slot: 0, writer: 0, evaluate: 0, seal: 0, lease: 0, put: 0, turn: 0, reply: 0 };
const put = { request: 'put' } as const;
const hedge = { request: 'hedge' } as const;

test('the report reads what the metrics say of the slow writes between two looks', async () => {
  const metrics = new Metrics();
  const meter = metrics.slowWrites;
  meter.slow({ writes: 5, sums: { ...noTime, put: 5000 }, requests: [put] });
  const before = totalsIn(await metrics.text())!;
  meter.slow({ writes: 3, sums: { ...noTime, put: 300, turn: 600 }, requests: [put, hedge] });
  meter.slow({ writes: 1, sums: { ...noTime, gather: 4, put: 20 }, requests: [put] });
  const slow = slowWritesBetween(before, totalsIn(await metrics.text()))!;
  assert.deepEqual(Object.keys(slow.stagesMs), [...WRITE_STAGES]);
  assert.equal(slow.writes, 4);
  for (const [stage, ms] of Object.entries({ ...noTime, gather: 1, put: 80, turn: 150 }))
    assert.ok(Math.abs(slow.stagesMs[stage]! - ms) < 1e-9, `${stage}: ${slow.stagesMs[stage]}`);
  assert.deepEqual(slow.requests, { put: 1, hedge: 0.75, readback: 0 });
});

test('a server that is not netsy, or had no slow write, tells nothing', async () => {
  assert.equal(totalsIn('# HELP etcd_server_has_leader …\netcd_server_has_leader 1\n'), undefined);
  const totals = totalsIn(await new Metrics().text())!;
  assert.equal(slowWritesBetween(totals, totals), undefined);
  assert.equal(slowWritesBetween(totals, undefined), undefined);
  assert.equal(slowWriteTable([phaseResult({})]), '');
});

test('text and page say where the time went: medians of the rounds, every stage that the server has', () => {
  const slowWrites = (putMs: number): { slowWrites: NonNullable<ReturnType<typeof slowWritesBetween>> } => ({
    slowWrites: {
      writes: 10,
      stagesMs: { ...noTime, put: putMs, turn: 7 },
      requests: { put: 1, hedge: 0.25, readback: 0 },
    },
  });
  const results = [30, 50, 90].map((putMs, index) => phaseResult({ round: index + 1, ...slowWrites(putMs) }));
  const [row] = slowWriteRows(results);
  assert.equal(row!.figures.length, SLOW_WRITE_TITLES.length);
  assert.deepEqual(row!.figures.slice(0, 2), [10, 57]);
  assert.match(
    slowWriteTable(results),
    /netsy: create, 2000\/s due .* 50\.00 +7\.00 +0\.00 +1\.00 +0\.25 +0\.00$/m,
  );
  const html = reportHtml({
    title: 'a run',
    conditions: [],
    verdict: '',
    standing: [],
    outcome: { ...emptyOutcome(), results },
    lines: [],
  });
  assert.match(html, /Where the time of slow writes went/);
});

test('the report reads what the metrics say of threads between two looks', async () => {
  const metrics = new Metrics();
  const record = recorder(metrics.pauses.add('main'));
  record('eventLoop', 900);
  record('minor', 900);
  const before = await metrics.text();
  for (let looks = 0; looks < 100; looks++) record('eventLoop', looks < 98 ? 1.5 : 40);
  record('minor', 3);
  record('major', 17);
  const pauses = pausesBetween(before, await metrics.text(), 10);
  const [main] = pauses;
  assert.deepEqual([pauses.length, main!.thread, main!.delayP99Ms], [1, 'main', 50]);
  const near = (actual: number, expected: number): void =>
    assert.ok(Math.abs(actual - expected) < 1e-6, `${actual}`);
  near(main!.delayMeanMs, (98 * 1.5 + 80) / 100);
  near(main!.gcMsPerSecond, 2);
  near(main!.gcPerSecond, 0.2);
  assert.match(pauseTable([phaseResult({ pauses })]), /2000\/s due +2\.27 +50\.00 +2\.00 +0\.20 +- /);
  assert.deepEqual(pausesBetween('', 'etcd_server_has_leader 1\n', 10), []);
});
