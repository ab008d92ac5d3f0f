import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openStore } from '../../src/main/store/open.ts';
import { probeStore } from '../../src/main/store/probe.ts';
import { openS3Client } from '../../src/main/store/s3-client.ts';
import { type S3Options, s3Target } from '../../src/main/store/s3-config.ts';
import type { Clock } from '../../src/shared/base/clock.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { freePort } from '../support/ports.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { describeStoreContract, keysOf, text } from './contract.ts';

describe('the S3 store on a real S3 server', { skip: missingTools('go'), timeout: 600_000 }, () => {
  let gateway: VersityGateway;
  before(async () => {
    gateway = await startVersityGateway({ buckets: ['contract', 'other'] });
  });
  after(() => gateway.stop());

  const optionsWith = (environment: Record<string, string>, more: Partial<S3Options> = {}): S3Options => ({
    clock: systemClock,
    random: systemRandom,
    environment: { ...gateway.environment, HOME: '/nonexistent', ...environment },
    ...more,
  });

  describeStoreContract('S3 with a prefix', {
    open: () => openStore('s3://contract/some/prefix', optionsWith({})),
    manyObjects: 1_100,
  });

  it('leaves no unfinished multipart upload, whose parts would be stored and paid for', async () => {
    const options = optionsWith({});
    const url = new URL('s3://other/unfinished');
    const store = await openStore(url.href, options);
    async function* failing(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(20 * 1024 * 1024);
      assert.match(await uploads(), /<Upload>/);
      throw new Error('the builder failed');
    }
    const client = await openS3Client(await s3Target(url, options), options);
    const uploads = async (): Promise<string> => {
      const reply = await client.send({ method: 'GET', query: { uploads: '' }, deed: 'list uploads' });
      assert.equal(reply.status, 200);
      return Buffer.from(reply.body).toString();
    };
    await assert.rejects(store.putMultipart('a', failing()), /the builder failed/);
    assert.doesNotMatch(await uploads(), /<Upload>/);
    await Promise.all([store.close(), client.close()]);
  });

  it('keeps prefixes of one bucket apart', async () => {
    const whole = await openStore('s3://other', optionsWith({}));
    const inside = await openStore('s3://other/inside/', optionsWith({}));
    await whole.put('a', text('1'));
    await inside.put('a', text('2'));
    assert.deepEqual(await keysOf(whole, ''), ['a', 'inside/a']);
    assert.deepEqual(await keysOf(inside, ''), ['a']);
    await Promise.all([whole.close(), inside.close()]);
  });

  it('names a missing bucket, for each operation and in the probe', async () => {
    const store = await openStore('s3://no-such-bucket', optionsWith({}));
    const missing = { name: 'StoreError', kind: 'no-bucket', code: 'NoSuchBucket' };
    await assert.rejects(store.get('a'), missing);
    await assert.rejects(store.putIfAbsent('a', text('x')), missing);
    await assert.rejects(keysOf(store, ''), missing);
    await assert.rejects(probeStore(store, systemRandom), {
      kind: 'no-bucket',
      message: /create the bucket/,
    });
    await store.close();
  });

  it('takes a wrong secret and an unknown key for refusal, and never shows the secret', async () => {
    const wrong = [
      { AWS_SECRET_ACCESS_KEY: 'a-wrong-secret-key' },
      { AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'a-wrong-secret-key' },
    ];
    for (const environment of wrong) {
      const store = await openStore('s3://contract', optionsWith(environment));
      await assert.rejects(probeStore(store, systemRandom), (error: Error) => {
        assert.equal('kind' in error && error.kind, 'denied');
        assert.match(error.message, /credentials/);
        assert.doesNotMatch(error.message, /a-wrong-secret-key|\n/);
        return true;
      });
      await store.close();
    }
  });

  it('takes a refused connection for passing', async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    const store = await openStore('s3://contract', optionsWith({}, { endpoint }));
    await assert.rejects(store.get('a'), { name: 'StoreError', kind: 'transient', code: 'ECONNREFUSED' });
    await store.close();
  });

  it('corrects a clock that is an hour wrong by what the store says, and goes on', async () => {
    const late: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() - 3_600_000 };
    const store = await openStore('s3://contract/late', optionsWith({}, { clock: late }));
    await store.put('a', text('x'));
    assert.deepEqual(await keysOf(store, ''), ['a']);
    await store.close();
  });

  it('reads keys and region from the profile of the shared files, and without any says what to set', async () => {
    const home = await mkdtemp(join(tmpdir(), 'netsy-aws-'));
    const credentials = join(home, 'credentials');
    const config = join(home, 'config');
    const lines = ['[default]', 'aws_access_key_id = nobody', '# a comment', '[ours]'];
    lines.push(`aws_access_key_id=${gateway.accessKey}`, `aws_secret_access_key = ${gateway.secretKey}`);
    await writeFile(credentials, lines.join('\n'));
    await writeFile(
      config,
      '[profile ours]\nregion = us-east-1\ns3 =\n  region = nested\n[profile x]\nregion=y\n',
    );
    const files = { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: config, AWS_REGION: '' };
    const keyless = { ...files, AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' };
    const store = await openStore('s3://contract/profile', optionsWith({ ...keyless, AWS_PROFILE: 'ours' }));
    await store.put('a', text('x'));
    await store.close();
    const without = await openStore('s3://contract', optionsWith({ ...keyless, AWS_PROFILE: 'missing' }));
    await assert.rejects(without.get('a'), {
      kind: 'denied',
      message: /AWS_ACCESS_KEY_ID.*profile 'missing'/,
    });
    await without.close();
    await rm(home, { recursive: true });
  });

  it('ends a request under way when its signal is aborted', async () => {
    const store = await openStore('s3://contract/abort', optionsWith({}));
    const controller = new AbortController();
    const reason = new Error('given up');
    const putting = store.putIfAbsent('slow', new Uint8Array(32 * 1024 * 1024), controller.signal);
    controller.abort(reason);
    await assert.rejects(putting, reason);
    await store.close();
  });
});
