import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { History, quantileOf, type Totals } from '../../src/main/ops/history.ts';
import { pageOf } from '../../src/main/ops/page.ts';
import { shownStore } from '../../src/main/ops/status-json.ts';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { NETSY_VERSION } from '../../src/shared/model/version.ts';
import { startBrowser } from '../support/browser.ts';
import { ManualClock } from '../support/clock.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { STATUS } from './status.ts';

const skip = missingTools('chromium');
/** How long the page's clock runs before what it shows is read. */
const PAGE_MS = 6_000;

/** What a browser makes of a page: its document, and what its console says. */
function browse(url: string, dark = false): { dom: string; console: string } {
  const profile = temporaryDirectory();
  const run = spawnSync(
    'chromium',
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
      ...[`--user-data-dir=${profile}`, '--enable-logging=stderr', '--v=0', '--window-size=1280,1100'],
      ...[`--virtual-time-budget=${PAGE_MS}`, `--screenshot=${join(profile, 'page.png')}`],
      ...(dark ? ['--force-dark-mode'] : []),
      ...['--dump-dom', url],
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  assert.equal(run.error, undefined);
  const said = run.stderr.split('\n').filter((line) => line.includes('CONSOLE'));
  return { dom: run.stdout, console: said.join('\n') };
}

/** The text of the element with this id, without markup. */
function textOf(dom: string, id: string): string {
  const match = new RegExp(`id="${id}"[^>]*>(.*?)</(?:span|p|dl|b|div|h1|tbody|table)>`, 's').exec(dom);
  return (match?.[1] ?? '')
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** Shows slow requests as the page would, with the longest name of a method. */
const WITH_SLOW = `showSlow([{ atMs: 0, method: 'Lease/LeaseTimeToLive', tookMs: 123456, code: 8 }], 7200000)`;
/** What lies where: whether the page is too wide, its columns, and cells of a time or number that take two lines. */
const LAYOUT = `(() => {
  const lines = (one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return range.getClientRects().length > 1;
  };
  return {
  sideways: document.documentElement.scrollWidth > innerWidth,
  columns: new Set([...document.querySelectorAll('section:not(.wide)')].map((one) => one.offsetLeft)).size,
  broken: [...document.querySelectorAll('td.short')].filter(lines).map((one) => one.textContent),
  };
})()`;

describe('the page at /', { timeout: 120_000 }, () => {
  let netsy: Netsy;
  let standby: Netsy;

  before(async () => {
    const lease = ['--lease-ttl', '2s'];
    netsy = await startNetsy({ arguments: [...lease, '--name', 'north'] });
    const store = `file://${netsy.dataDir}/store`;
    standby = await startNetsy({ arguments: [...lease, '--name', 'south', '--store', store] });
    const client = new EtcdClient(netsy.authority);
    const put = (i: number): Promise<unknown> =>
      client.call(KV.method.put, { key: bytes(`a-secret-key${i}`), value: bytes('a-secret-value') });
    for (let i = 0; i < 20; i++) await put(i);
    await client.call(Lease.method.leaseGrant, { ID: 5n, TTL: 600n });
    client.close();
  });

  after(async () => {
    await standby?.stop();
    await netsy?.stop();
  });

  it('shows a primary: that it is healthy, its epoch, its log, its leases', { skip }, () => {
    const { dom, console } = browse(netsy.endpoint);
    assert.equal(console, '', 'no error, and nothing that the policy forbids');
    assert.equal(textOf(dom, 'state'), 'healthy primary');
    assert.equal(textOf(dom, 'name'), 'north');
    assert.match(textOf(dom, 'd-primary'), /primary this server epoch 1 /);
    assert.match(textOf(dom, 'd-log'), /applied here all of it keys 20 revision 21 /);
    assert.match(textOf(dom, 'd-reads'), /leases 1/);
    assert.match(dom, /<title>netsy healthy primary<\/title>/);
  });

  it('shows a standby, and where its primary is', { skip }, () => {
    const { dom, console } = browse(standby.endpoint, true);
    assert.equal(console, '');
    assert.equal(textOf(dom, 'state'), 'standby');
    assert.match(textOf(dom, 'd-primary'), new RegExp(`primary north at ${netsy.endpoint}`));
  });

  it('shows what it knows at once, before it asks again, and a hostile name as text', { skip }, () => {
    const name = '</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>';
    const page = pageOf({ ...STATUS, name, store: 's3://<b>bucket' });
    const file = join(temporaryDirectory(), 'page.html');
    writeFileSync(file, page);
    // Of a file nothing can be asked, so all that is there came with it.
    const { dom } = browse(`file://${file}`);
    assert.ok(textOf(dom, 'name').startsWith('&lt;/script&gt;&lt;script&gt;alert(1)'), textOf(dom, 'name'));
    assert.match(textOf(dom, 'what'), /^0\.1\.0 \(etcd API 3\.7\.0\), up 1 s, s3:\/\/&lt;b&gt;bucket$/);
    assert.doesNotMatch(dom, /<img/);
    assert.equal(dom.match(/<script/g)?.length, 2);
  });

  it('fits phones without scrolling sideways or broken words, and uses a wide window', { skip }, async () => {
    const browser = await startBrowser();
    try {
      const told = "document.querySelectorAll('#d-log dd').length > 0";
      for (const [width, columns] of [
        [320, 1],
        [390, 1],
        [800, 2],
        [1280, 3],
        [2560, 5],
      ] as const) {
        await browser.open(netsy.endpoint, width, 900, told);
        await browser.evaluate(WITH_SLOW);
        const found = (await browser.evaluate(LAYOUT)) as {
          sideways: boolean;
          columns: number;
          broken: string[];
        };
        assert.deepEqual(found, { sideways: false, columns, broken: [] }, `${width} pixels`);
      }
    } finally {
      await browser.close();
    }
  });

  it('draws no latency where nothing was written, and a lone value too', { skip }, async () => {
    const browser = await startBrowser();
    try {
      await browser.open(netsy.endpoint, 1280, 900, "document.querySelectorAll('#d-log dd').length > 0");
      await browser.evaluate("graph('g-latency', [5, 10, null, null, 10, null, 5, 5], ' ms')");
      const drawn = await browser.evaluate(
        "document.querySelector('#g-latency path:not(.area)').getAttribute('d')",
      );
      assert.equal((drawn as string).match(/M/g)?.length, 3, drawn as string);
      assert.doesNotMatch(drawn as string, /,31\.00/, 'no zero is made up');
      await browser.evaluate("graph('g-latency', [null, null], ' ms')");
      const below = await browser.evaluate("$('g-latency').nextElementSibling.textContent");
      assert.equal(below, 'nothing in the last ten minutes');
    } finally {
      await browser.close();
    }
  });

  it('a server that recovers is not shown as one that is ill', { skip }, async () => {
    const browser = await startBrowser();
    try {
      await browser.open(netsy.endpoint, 1280, 900, "document.querySelectorAll('#d-log dd').length > 0");
      const state = await browser.evaluate("stateOf({ trouble: 'netsy is recovering' })");
      assert.deepEqual(state, ['recovering', '', '']);
    } finally {
      await browser.close();
    }
  });

  it('a tab that was open while the server became another version takes its page', { skip }, async () => {
    const browser = await startBrowser();
    try {
      await browser.open(netsy.endpoint, 1280, 900, "document.querySelectorAll('#d-log dd').length > 0");
      await browser.evaluate("window.isOld = true; shown.version = '0.0.1'");
      while ((await browser.evaluate('window.isOld === undefined')) !== true) await sleep(50);
      assert.equal(await browser.evaluate('shown.version'), NETSY_VERSION);
    } finally {
      await browser.close();
    }
  });

  it('has no outside parts, and a policy that lets nothing else in', async () => {
    const answer = await fetch(`${netsy.endpoint}/`);
    const policy = answer.headers.get('content-security-policy') ?? '';
    assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';/);
    assert.doesNotMatch(policy, /unsafe|http/);
    const page = (await answer.text()).replace(/<script type="application\/json".*?<\/script>/s, '');
    assert.doesNotMatch(page.replaceAll('http://www.w3.org/2000/svg', ''), /https?:|src=|@import|url\(/);
    assert.ok(page.length < 32_768, String(page.length));
  });

  it('names every part for those who do not see it', async () => {
    const page = await (await fetch(`${netsy.endpoint}/`)).text();
    assert.match(page, /<html lang="en">/);
    for (const [, id] of page.matchAll(/aria-labelledby="([^"]+)"/g)) assert.ok(page.includes(`id="${id}"`));
    for (const [graph] of page.matchAll(/<svg[^>]*>/g)) assert.match(graph, /role="img" aria-label="/);
    for (const [header] of page.matchAll(/<th\b[^>]*>/g)) assert.match(header, /scope="col"/);
    assert.match(page, /id="state" role="status"/);
    assert.match(page, /id="trouble" role="alert"/);
  });

  it('says no key and no value, for who reaches it need not be a user', async () => {
    const text = await (await fetch(`${netsy.endpoint}/status.json`)).text();
    assert.doesNotMatch(text, /a-secret/);
    const status = JSON.parse(text) as { own: { leadership: string }; etcd: { revision: number } };
    assert.equal(status.own.leadership, 'leading');
    assert.equal(status.etcd.revision, 21);
  });

  it('a store’s URL is shown without who signs in, and without its query', () => {
    assert.equal(shownStore('s3://key:secret@bucket/prefix?session=secret'), 's3://bucket/prefix');
    assert.equal(shownStore('file:///var/lib/netsy'), 'file:///var/lib/netsy');
  });
});

describe('the last ten minutes', () => {
  const bounds = [0.01, 0.1, 1];

  it('are kept in steps of five seconds, as rates', () => {
    const clock = new ManualClock();
    const totals = { writes: 0, reads: 0, puts: 0, dollars: 0, storeErrors: 0 };
    let counts = [0, 0, 0, 0];
    const take = (): Totals => ({ ...totals, writeSeconds: { bounds, counts } });
    const history = new History(clock, take);
    Object.assign(totals, { writes: 50, reads: 10, puts: 5, dollars: 0.01, storeErrors: 2 });
    counts = [0, 50, 0, 0];
    clock.advance(5_000);
    clock.advance(5_000);
    const [first, second] = history.intervals;
    assert.ok(first !== undefined && second !== undefined);
    assert.equal(first.writesPerSecond, 10);
    assert.equal(first.putsPerSecond, 1);
    assert.ok(Math.abs(first.dollarsPerHour - 7.2) < 1e-9);
    assert.ok(Math.abs((first.writeMsP50 ?? 0) - 55) < 1e-9);
    assert.equal(first.storeErrors, 2);
    assert.equal(second.writesPerSecond, 0);
    assert.equal(second.writeMsP99, undefined);
    for (let i = 0; i < 200; i++) clock.advance(5_000);
    assert.equal(history.intervals.length, 120);
    history.stop();
  });

  it('quantiles lie where Prometheus puts them', () => {
    assert.equal(quantileOf(bounds, [0, 0, 0, 0], 0.5), undefined);
    assert.equal(quantileOf(bounds, [100, 0, 0, 0], 0.5), 0.005);
    assert.equal(quantileOf(bounds, [0, 0, 0, 7], 0.5), 1, 'above all bounds: the last one');
  });
});
