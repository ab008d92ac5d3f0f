import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Between, type Deed, type Passing } from '../support/between.ts';
import { bytes, EtcdClient, text } from '../support/etcd-client.ts';
import { MAIN, type Netsy, serverArguments, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { startProcess } from '../support/process.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';

const WRITES = 30;
const ERROR = Buffer.from(
  '<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>said so</Message></Error>',
);
const PAGE = Buffer.from('<!DOCTYPE html><html><body>Log in</body></html>');

function isUpload({ method, url }: Passing): boolean {
  return method === 'PUT' && url.includes('/chunks/');
}

/** Something between netsy and its store answers as it likes, or changes what the store says. */
describe('a store whose answers are not all its own', { timeout: 120_000, skip: missingTools('go') }, () => {
  let gateway: VersityGateway;
  let between: Between;
  let prefixes = 0;
  let store = '';

  before(async () => {
    gateway = await startVersityGateway({ buckets: ['bucket'] });
    between = await Between.start(gateway.endpoint);
  });
  after(async () => {
    await between.stop();
    await gateway.stop();
  });
  afterEach(() => {
    between.deed = () => undefined;
  });

  function start(): Promise<Netsy> {
    const environment = { ...gateway.environment, AWS_ENDPOINT_URL_S3: between.endpoint };
    return startNetsy({ arguments: ['--store', store], environment });
  }

  /** Writes keys one after the other to a new store, each of which must be acknowledged. */
  async function write(deed: (request: Passing) => Deed = () => undefined): Promise<void> {
    store = `s3://bucket/${prefixes++}`;
    const netsy = await start();
    const client = new EtcdClient(netsy.authority);
    between.deed = deed;
    between.done = 0;
    for (let i = 0; i < WRITES; i++) {
      await client.call(KV.method.put, { key: bytes(`key ${i}`), value: bytes(`${i}`) });
    }
    client.close();
    between.deed = () => undefined;
    assert.equal(await netsy.stop(), 'exit code 0');
  }

  /** What a new node reads from the store must be every key. */
  async function assertAllThere(deed: (request: Passing) => Deed = () => undefined): Promise<void> {
    between.deed = deed;
    const netsy = await start();
    between.deed = () => undefined;
    const client = new EtcdClient(netsy.authority);
    const { kvs } = await client.call(KV.method.range, { key: bytes('key '), rangeEnd: bytes('key!') });
    assert.equal(new Set(kvs.map(({ key }) => text(key))).size, WRITES);
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
  }

  /** The deed for every `n`th of the requests that `concerns`. */
  function everyNth(
    n: number,
    concerns: (request: Passing) => boolean,
    deed: Deed,
  ): (request: Passing) => Deed {
    let count = 0;
    return (request) => (concerns(request) && count++ % n === 0 ? deed : undefined);
  }

  for (const [what, body] of [
    ['S3’s error', ERROR],
    ['a page', PAGE],
    ['nothing', Buffer.alloc(0)],
  ] as const) {
    it(`a write that is answered with success and ${what}, and not stored, is not acknowledged before it is`, async () => {
      const isPut = ({ method }: Passing): boolean => method === 'PUT';
      await write(everyNth(3, isPut, { instead: { status: 200, body } }));
      assert.ok(between.done > 5);
      await assertAllThere();
    });
  }

  it('an upload that something in between refuses, as if it were no good or not implemented, is tried again', async () => {
    for (const status of [400, 501]) {
      await write(everyNth(3, isUpload, { instead: { status, body: PAGE } }));
      assert.ok(between.done > 5);
      await assertAllThere();
    }
  });

  const starts: ReadonlyArray<readonly [string, number, (request: Passing) => boolean, Deed]> = [
    ['refuses every second read', 2, ({ method }) => method === 'GET', { instead: { status: 503 } }],
    ['answers a third of all with success and an error', 3, () => true, { instead: { body: ERROR } }],
    [
      'cuts every second list short',
      2,
      ({ url }) => url.includes('list-type'),
      { change: (body) => ({ body: body.subarray(0, body.length - 40) }) },
    ],
    [
      'cuts every tenth chunk short',
      10,
      ({ method, url }) => method === 'GET' && url.includes('/chunks/'),
      { change: (body) => ({ body: body.subarray(0, body.length >> 1) }) },
    ],
  ];
  for (const [what, n, concerns, deed] of starts) {
    it(`is started from while it ${what}`, async () => {
      await write();
      await assertAllThere(everyNth(n, concerns, deed));
    });
  }

  it('may have any Date in its answers, as long as it takes what is signed with the right time', async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const later: Deed = { change: (body, { headers }) => ({ body, headers: { ...headers, date } }) };
    await write(() => later);
    await assertAllThere(() => later);
  });

  it('that is away for a second when the server is told to end has the lease back all the same', async () => {
    store = `s3://bucket/${prefixes++}`;
    const netsy = await start();
    const awayUntil = Date.now() + 1_000;
    between.deed = () => (Date.now() < awayUntil ? { instead: { status: 503 } } : undefined);
    assert.equal(await netsy.stop(), 'exit code 0');
    assert.ok(between.done > 0);
    assert.doesNotMatch(netsy.log(), /lease not released/);
  });

  it('that refuses uploads while a start claims the log: told to end, it gives the lease back', async () => {
    store = `s3://bucket/${prefixes++}`;
    const leaseTtl = ['--store', store, '--lease-ttl', '2m'];
    const environment = { ...gateway.environment, AWS_ENDPOINT_URL_S3: between.endpoint };
    between.deed = (request) => (isUpload(request) ? { instead: { status: 503 } } : undefined);
    between.done = 0;
    const starting = await startProcess({
      command: process.execPath,
      arguments: [MAIN, ...serverArguments({ dataDir: temporaryDirectory(), arguments: leaseTtl })],
      environment,
      logFile: join(temporaryDirectory(), 'netsy.log'),
    });
    // Who uploads has the lease.
    while (between.done === 0) await sleep(20);
    await starting.stop();
    assert.equal(await starting.ended, 'exit code 0');
    between.deed = () => undefined;
    const next = await startNetsy({ arguments: leaseTtl, environment, readyWithinMs: 50_000 });
    assert.match(next.log(), /"role":"primary"/);
    assert.equal(await next.stop(), 'exit code 0');
  });

  it('that asks to be left alone for a minute is not, lest writes time out', async () => {
    let asked = 0;
    const retryLater: Deed = { instead: { status: 503, headers: { 'retry-after': '60' } } };
    await write((request) => (isUpload(request) && asked++ === 0 ? retryLater : undefined));
  });
});
