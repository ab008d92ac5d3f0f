import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { openStore } from '../../src/main/store/open.ts';
import type { S3Options } from '../../src/main/store/s3-config.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { type MetadataOptions, MetadataServer } from '../support/metadata.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { SigningFront } from '../support/signing-front.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { text } from './contract.ts';

/**
 * Each source of credentials that AWS has, as a real HTTP server, file or program, in front of a real S3 server. AWS's
 * packages read the process's environment, so a test sets that.
 */
describe('S3 credentials', { skip: missingTools('go'), timeout: 120_000 }, () => {
  let gateway: VersityGateway;
  let front: SigningFront;
  let server: MetadataServer | undefined;
  const before_ = { ...process.env };
  before(async () => {
    gateway = await startVersityGateway({ buckets: ['keys'] });
    front = await SigningFront.start(gateway, {
      keys: (id) => (id === 'issued' ? { secret: 'issued-secret', token: 'session-token' } : undefined),
    });
  });
  after(async () => {
    await front.stop();
    await gateway.stop();
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    process.env = { ...before_ };
  });

  async function serve(options: Partial<MetadataOptions> = {}): Promise<MetadataServer> {
    server = await MetadataServer.start({
      issue: () => ({
        accessKeyId: 'issued',
        secretAccessKey: 'issued-secret',
        sessionToken: 'session-token',
        expiration: new Date(Date.now() + 3_600_000),
      }),
      ...options,
    });
    return server;
  }

  /** Writes and reads an object with what the environment leads to. */
  async function uses(environment: Record<string, string>, more: Partial<S3Options> = {}): Promise<void> {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    Object.assign(process.env, {
      HOME: '/nonexistent',
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL_S3: front.endpoint,
      AWS_EC2_METADATA_DISABLED: 'true',
      ...environment,
    });
    const options = { clock: systemClock, random: systemRandom, environment: process.env, ...more };
    const store = await openStore('s3://keys/some', options);
    try {
      await store.put('object', text('x'));
      assert.deepEqual(await store.get('object'), text('x'));
    } finally {
      await store.close();
    }
  }

  function homeWith(config: readonly string[]): string {
    const home = temporaryDirectory();
    mkdirSync(join(home, '.aws'));
    writeFileSync(join(home, '.aws', 'config'), config.join('\n'));
    return home;
  }

  it('come from an instance by IMDSv2, with its token', async () => {
    const { url, requests } = await serve();
    await uses({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url, AWS_EC2_METADATA_DISABLED: 'false' });
    assert.equal(requests[0], 'PUT /latest/api/token 200');
    assert.equal(server?.issued, 1, requests.join('\n'));
  });

  it('come from a container, with the token of its file as it is now (ECS, EKS pod identity)', async () => {
    const file = join(temporaryDirectory(), 'token');
    let token = 'first';
    writeFileSync(file, token);
    const { url, requests } = await serve({ containerToken: () => token });
    const environment = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
    };
    await uses(environment);
    token = 'second';
    writeFileSync(file, token);
    await uses(environment);
    assert.deepEqual(requests, Array(2).fill('GET /v1/credentials 200 keys'));
  });

  it('come from a web identity’s token (IRSA)', async () => {
    const file = join(temporaryDirectory(), 'token');
    writeFileSync(file, 'signed by the cluster');
    const { url } = await serve({ webIdentityToken: () => 'signed by the cluster' });
    await uses({
      AWS_ENDPOINT_URL_STS: url,
      AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/netsy',
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
    });
    assert.equal(server?.issued, 1);
  });

  it('come from a role that is taken on with the environment’s keys, with its external id', async () => {
    const { url } = await serve({ externalId: 'id of ours', callerKeyId: 'caller' });
    const keys = { AWS_ACCESS_KEY_ID: 'caller', AWS_SECRET_ACCESS_KEY: 'callers-secret' };
    const role = { arn: 'arn:aws:iam::111122223333:role/netsy', externalId: 'id of ours' };
    await uses({ ...keys, AWS_ENDPOINT_URL_STS: url }, { role });
    assert.equal(server?.issued, 1);
    await assert.rejects(
      uses({ ...keys, AWS_ENDPOINT_URL_STS: url }, { role: { ...role, externalId: 'another' } }),
      { kind: 'denied', message: /of role arn:aws:iam::111122223333:role\/netsy: refused/ },
    );
  });

  it('come from a profile that takes a role on with another profile’s keys', async () => {
    const { url } = await serve({ externalId: 'id of ours', callerKeyId: 'caller' });
    const HOME = homeWith([
      '[profile base]\naws_access_key_id = caller\naws_secret_access_key = callers-secret',
      '[profile netsy]\nrole_arn = arn:aws:iam::111122223333:role/netsy\nsource_profile = base',
      'external_id = id of ours',
    ]);
    await uses({ HOME, AWS_PROFILE: 'netsy', AWS_ENDPOINT_URL_STS: url });
    assert.equal(server?.issued, 1);
  });

  it('come from a profile’s credential_process', async () => {
    const program = join(temporaryDirectory(), 'keys');
    const keys = {
      Version: 1,
      AccessKeyId: 'issued',
      SecretAccessKey: 'issued-secret',
      SessionToken: 'session-token',
    };
    writeFileSync(program, `#!/bin/sh\necho '${JSON.stringify(keys)}'\n`);
    chmodSync(program, 0o755);
    const HOME = homeWith([`[profile netsy]\ncredential_process = ${program}`]);
    await uses({ HOME, AWS_PROFILE: 'netsy' });
  });

  it('and the endpoint come from a profile, for S3 or for all services', async () => {
    const keys = `aws_access_key_id = issued\naws_secret_access_key = issued-secret\naws_session_token = session-token`;
    const HOME = homeWith([
      `[profile one]\n${keys}\nendpoint_url = ${front.endpoint}`,
      `[profile two]\n${keys}\nservices = ours\nendpoint_url = http://127.0.0.1:1`,
      `[services ours]\nec2 =\n  endpoint_url = http://127.0.0.1:2\ns3 =\n  endpoint_url = ${front.endpoint}`,
    ]);
    await uses({ HOME, AWS_PROFILE: 'one', AWS_ENDPOINT_URL_S3: '' });
    await uses({ HOME, AWS_PROFILE: 'two', AWS_ENDPOINT_URL_S3: '' });
  });

  it('that a source does not give now are worth another try; that nothing is set up is not', async () => {
    const { url } = await serve();
    const container = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/v1/credentials` };
    await assert.rejects(uses({ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1/' }), {
      kind: 'transient',
      message: /no S3 credentials/,
    });
    await uses(container);
    await assert.rejects(uses({ AWS_PROFILE: 'missing' }), {
      kind: 'denied',
      message: /^[^\n]*set AWS_ACCESS_KEY_ID[^\n]*profile 'missing'[^\n]*$/,
    });
  });
});
