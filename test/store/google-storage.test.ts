import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openStore } from '../../src/main/store/open.ts';
import { probeStore } from '../../src/main/store/probe.ts';
import { type S3Options, s3Target } from '../../src/main/store/s3-config.ts';
import { dialectOf } from '../../src/main/store/s3-dialect.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { GoogleStorage } from '../support/google-storage.ts';
import { describeStoreContract } from './contract.ts';

/** Not the real one, which is not here: a strict server of the part of its API that is used. */
describe('Google Cloud Storage’s dialect', { timeout: 120_000 }, () => {
  let google: GoogleStorage;
  before(async () => {
    google = await GoogleStorage.start();
  });
  after(() => google.stop());

  const options = (more: Partial<S3Options> = {}): S3Options => ({
    clock: systemClock,
    random: systemRandom,
    environment: { ...google.environment, HOME: '/nonexistent' },
    endpoint: google.endpoint,
    ...more,
  });

  describeStoreContract('Google’s XML API', {
    open: () => openStore(`s3://${google.bucket}/prefix`, options({ dialect: 'gcs' })),
    manyObjects: 130,
  });

  it('was understood in every request', () => {
    assert.deepEqual(google.refused, []);
  });

  it('is needed: in S3’s every request is refused', async () => {
    const store = await openStore(`s3://${google.bucket}/prefix`, options({ dialect: 's3' }));
    await assert.rejects(probeStore(store, systemRandom), { kind: 'denied' });
    assert.match(google.refused.join(), /x-amz/);
    await store.close();
  });

  it('is taken for Google’s own host, with its words for key and storage class; the rest is refused', async () => {
    const at = async (endpoint: string, more: Partial<S3Options> = {}) =>
      dialectOf(await s3Target(new URL('s3://bucket'), options({ endpoint })), options(more));
    assert.equal((await at('https://storage.googleapis.com')).name, 'gcs');
    assert.equal((await at('https://notstorage.googleapis.com.example')).name, 's3');
    assert.equal((await at('https://storage.googleapis.com', { dialect: 's3' })).name, 's3');
    const written = { kmsKeyId: 'projects/p/locations/l/keyRings/r/cryptoKeys/k', storageClass: 'STANDARD' };
    const { createOnly } = await at('https://storage.googleapis.com', { written });
    assert.deepEqual(createOnly, {
      'x-goog-encryption-kms-key-name': written.kmsKeyId,
      'x-goog-storage-class': 'STANDARD',
      'x-goog-if-generation-match': '0',
    });
    await assert.rejects(at('https://storage.googleapis.com', { written: { encryption: 'aws:kms' } }), {
      message: /--s3-sse/,
    });
  });

  it('is not Tigris’s, whose requests ask for consistency', async () => {
    const signedFor = async (endpoint: string): Promise<Record<string, string>> => {
      const target = await s3Target(new URL('s3://bucket'), options({ endpoint }));
      const request = { method: 'GET', host: target.host, path: '/', headers: {}, region: 'auto' };
      const keys = { accessKeyId: 'id', secretAccessKey: 'secret' };
      return dialectOf(target, options()).sign({ ...request, payloadHash: '', wallMs: 0 }, keys).headers;
    };
    for (const endpoint of ['https://t3.storage.dev', 'https://fly.storage.tigris.dev'])
      assert.equal((await signedFor(endpoint))['x-tigris-consistent'], 'true', endpoint);
    assert.equal((await signedFor('https://s3.example.com'))['x-tigris-consistent'], undefined);
  });
});
