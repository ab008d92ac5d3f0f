import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Client } from '../crash/client.ts';
import { readHistory } from '../crash/history.ts';
import { type IssuedKeys, MetadataServer } from '../support/metadata.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { type FrontOptions, SigningFront } from '../support/signing-front.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';

/** Expiry is told in whole seconds. */
const SHORT_LIFE_MS = 4_000;
const LONG_LIFE_MS = 3_600_000;
const LANES = 8;

describe('a server on S3 under load', { timeout: 170_000, skip: missingTools('go') }, () => {
  let gateway: VersityGateway;
  let front: SigningFront;
  let source: MetadataServer | undefined;
  let netsy: Netsy;
  let client: Client;
  let prefixes = 0;
  let lifeMs = 0;
  const issued = new Map<string, IssuedKeys>();
  const revoked = new Set<string>();

  before(async () => {
    gateway = await startVersityGateway({ buckets: ['load'] });
  });
  after(() => gateway.stop());

  async function start(options: FrontOptions, environment: Record<string, string> = {}): Promise<void> {
    front = await SigningFront.start(gateway, options);
    netsy = await startNetsy({
      arguments: ['--store', `s3://load/${prefixes++}`],
      environment: { ...gateway.environment, AWS_ENDPOINT_URL_S3: front.endpoint, ...environment },
    });
    client = new Client(netsy.authority);
  }

  async function startWithIssuedKeys(life: number): Promise<MetadataServer> {
    issued.clear();
    lifeMs = life;
    const instance = await MetadataServer.start({ issue });
    source = instance;
    await start(
      { keys: keysOf },
      {
        AWS_ACCESS_KEY_ID: '',
        AWS_SECRET_ACCESS_KEY: '',
        AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url,
        AWS_EC2_METADATA_DISABLED: 'false',
      },
    );
    return instance;
  }

  function issue(): IssuedKeys {
    const accessKeyId = `issued-${issued.size}`;
    const expiration = new Date(Math.ceil((Date.now() + lifeMs) / 1000) * 1000);
    const keys = {
      accessKeyId,
      secretAccessKey: `secret-${issued.size}`,
      sessionToken: `token-${issued.size}`,
    };
    issued.set(accessKeyId, { ...keys, expiration });
    return { ...keys, expiration };
  }

  function keysOf(id: string): ReturnType<NonNullable<FrontOptions['keys']>> {
    const keys = issued.get(id);
    if (keys === undefined) return undefined;
    const isExpired = revoked.has(id) || keys.expiration.getTime() <= Date.now();
    return { secret: keys.secretAccessKey, token: keys.sessionToken, isExpired };
  }

  afterEach(async () => {
    client.close();
    await netsy.stop();
    await front.stop();
    await source?.stop();
    source = undefined;
  });

  /** Writes one value after the other in each lane while `during` runs; every one must be acknowledged and there. */
  async function writesWhile(during: () => Promise<void>): Promise<number> {
    let isOver = false;
    let written = 0;
    const lane = async (name: number): Promise<void> => {
      for (let turn = 0; !isOver; turn++) {
        await client.call(KV.method.put, { key: Buffer.from(`${name}`), value: Buffer.from(`${turn}`) });
        written++;
      }
    };
    const lanes = Promise.all(Array.from({ length: LANES }, (_, name) => lane(name)));
    await Promise.race([during(), lanes]);
    isOver = true;
    await lanes;
    const revisions = await readHistory(client);
    assert.equal(revisions.length, written);
    // However slow the machine is: the first of a lane may have been before anything happened.
    assert.ok(written > 2 * LANES, `${written} writes`);
    assert.doesNotMatch(netsy.log(), /store failed an upload/);
    return written;
  }

  it('renews short-lived keys ahead of their end, also while their source is down now and then: no request is refused', async () => {
    const instance = await startWithIssuedKeys(SHORT_LIFE_MS);
    await writesWhile(async () => {
      for (let round = 0; round < 2; round++) {
        await systemClock.sleep(2_000);
        instance.isDown = true;
        await systemClock.sleep(1_000);
        instance.isDown = false;
      }
    });
    assert.deepEqual(front.refused, []);
    assert.ok(issued.size >= 2, `${issued.size} keys were issued`);
  });

  it('goes on without a failed write when the store ends keys before their time', async () => {
    await startWithIssuedKeys(LONG_LIFE_MS);
    await writesWhile(async () => {
      for (let round = 0; round < 2; round++) {
        await systemClock.sleep(1_500);
        for (const id of issued.keys()) revoked.add(id);
      }
      await systemClock.sleep(1_500);
    });
    assert.ok(front.refused.length > 0 && front.refused.every((code) => code === 'ExpiredToken'));
  });

  it('signs by the store’s clock when its own is 20 minutes off, either way, without a failed write', async () => {
    let skewMs = 20 * 60_000;
    await start({ skewMs: () => skewMs });
    await writesWhile(async () => {
      await systemClock.sleep(1_000);
      skewMs = -skewMs;
      await systemClock.sleep(1_000);
      skewMs = 0;
      await systemClock.sleep(1_000);
    });
    const { refused } = front;
    assert.ok(refused.length >= 3 && refused.every((code) => code === 'RequestTimeTooSkewed'), `${refused}`);
  });
});
