import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { type Family, parseExposition } from '../support/exposition.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

const DIRECTORY = 'docs/operations';
const WRITES = 500;
const skip = missingTools('promtool');

/** Runs promtool, of Debian's package `prometheus`. */
function promtool(words: readonly string[], input = ''): { code: number | null; output: string } {
  const run = spawnSync('promtool', words, { input, encoding: 'utf8', cwd: DIRECTORY });
  assert.equal(run.error, undefined, 'promtool is needed: apt-get install prometheus');
  return { code: run.status, output: `${run.stdout}${run.stderr}` };
}

/** The names of metrics in PromQL: what stands where a selector begins. */
function metricsIn(expression: string): string[] {
  const bare = expression.replaceAll(/\{[^}]*\}|\b(?:by|without|ignoring) \([^)]*\)/g, '');
  return [...bare.matchAll(/\b(?:netsy|etcd|grpc|process)_\w+/g)].map(([name]) => name);
}

function expressionsOfDashboard(): string[] {
  const text = readFileSync(`${DIRECTORY}/netsy-dashboard.json`, 'utf8');
  const { panels } = JSON.parse(text) as { panels: { targets?: { expr: string }[] }[] };
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}

describe('the metrics page, the alert rules and the dashboard agree', {
  timeout: 120_000,
  skip: missingTools('openssl'),
}, () => {
  let netsy: Netsy;
  let made: Certificates;
  let text = '';
  let families: ReadonlyMap<string, Family> = new Map();

  before(async () => {
    made = makeCertificates();
    const tls = ['--cert-file', made.server.certFile, '--key-file', made.server.keyFile];
    const listen = 'http://127.0.0.1:0,https://127.0.0.1:0';
    netsy = await startNetsy({ listen, arguments: ['--snapshot-records', '50', ...tls] });
    const client = new EtcdClient(netsy.authority);
    const { put, range } = KV.method;
    const key = (i: number): Uint8Array => bytes(`key${i}`);
    await Promise.all(
      Array.from({ length: WRITES }, (_, i) => client.call(put, { key: key(i), value: bytes('v') })),
    );
    await client.call(range, { key: key(1) });
    for (let tries = 0; tries < 100; tries++) {
      text = await (await fetch(`${netsy.endpoint}/metrics`)).text();
      if (text.includes('netsy_snapshot_newest_timestamp_seconds 1')) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    client.close();
    families = parseExposition(text);
  });

  after(async () => {
    await netsy?.stop();
    made?.remove();
  });

  it('a scrape under load is what promtool takes for well-formed', { skip }, () => {
    const { code, output } = promtool(['check', 'metrics'], text);
    // etcd's own names are as etcd has them, gauges that end in _total too.
    const others = output.split('\n').filter((line) => line !== '' && !/^(?:etcd|grpc|nodejs)_/.test(line));
    assert.deepEqual(others, []);
    assert.ok(code === 0 || code === 3, output);
  });

  it('the alert rules are well-formed, and fire and keep quiet when they should', { skip }, () => {
    const checked = promtool(['check', 'rules', 'netsy-alerts.yml']);
    assert.equal(checked.code, 0, checked.output);
    const tested = promtool(['test', 'rules', 'netsy-alerts.test.yml']);
    assert.equal(tested.code, 0, tested.output);
  });

  it('every metric that a rule or a panel reads is on the page of a server under load', () => {
    const rules = readFileSync(`${DIRECTORY}/netsy-alerts.yml`, 'utf8');
    const expressions = [...rules.split('\n').filter((line) => !line.trimStart().startsWith('#'))];
    const inRules = expressions.filter((line) => /expr:|^ {10}/.test(line)).join('\n');
    const readByRules = metricsIn(inRules.replaceAll(/^.*(?:summary|description):.*$/gm, ''));
    const wanted = new Set([...readByRules, ...expressionsOfDashboard().flatMap(metricsIn)]);
    assert.ok(wanted.size > 30, String(wanted.size));
    const missing = [...wanted].filter((name) => !families.has(name.replace(/_(?:bucket|sum|count)$/, '')));
    assert.deepEqual(missing, []);
  });

  it('panels say what they show, and none lies over another', () => {
    const { panels } = JSON.parse(readFileSync(`${DIRECTORY}/netsy-dashboard.json`, 'utf8')) as {
      panels: { id: number; title: string; gridPos: { x: number; y: number; w: number; h: number } }[];
    };
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const cells = new Set<string>();
    for (const { title, gridPos } of panels) {
      assert.ok(title !== '');
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(x < 24 && !cells.has(`${x},${y}`), title);
          cells.add(`${x},${y}`);
        }
    }
  });
});
