import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { s3Target } from '../../src/main/store/s3-config.ts';
import { Proxies } from '../../src/main/store/s3-proxy.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { temporaryDirectory } from '../support/netsy.ts';

type Variables = Readonly<Record<string, string>>;

async function origin(url: string, environment: Variables = {}, endpoint?: string): Promise<string> {
  const own = { HOME: '/nonexistent', ...environment };
  const options = { clock: systemClock, random: systemRandom, environment: own, endpoint };
  return (await s3Target(new URL(url), options)).origin;
}

/** A HOME whose shared config file says this of the default profile. */
function home(...lines: readonly string[]): Variables {
  const HOME = temporaryDirectory();
  mkdirSync(join(HOME, '.aws'));
  writeFileSync(join(HOME, '.aws', 'config'), ['[default]', ...lines, ''].join('\n'));
  return { HOME };
}

describe('the endpoint of S3, when none is named,', () => {
  // As of AWS's own packages' partitions, 2026.
  const domains: Variables = {
    'eu-west-3': 'amazonaws.com',
    'us-gov-west-1': 'amazonaws.com',
    'cn-north-1': 'amazonaws.com.cn',
    'eusc-de-east-1': 'amazonaws.eu',
    'us-iso-east-1': 'c2s.ic.gov',
    'us-isob-east-1': 'sc2s.sgov.gov',
    'us-isof-south-1': 'csp.hci.ic.gov',
    'eu-isoe-west-1': 'cloud.adc-e.uk',
  };

  it('is in the domain of the region’s partition', async () => {
    for (const [region, domain] of Object.entries(domains))
      assert.equal(await origin(`s3://bucket?region=${region}`), `https://bucket.s3.${region}.${domain}`);
  });

  it('is FIPS’s and dual-stack’s where the environment or the profile asks for it', async () => {
    const fips = { AWS_USE_FIPS_ENDPOINT: 'true' };
    const both = { ...fips, AWS_USE_DUALSTACK_ENDPOINT: 'TRUE' };
    assert.equal(
      await origin('s3://bucket?region=us-gov-west-1', fips),
      'https://bucket.s3-fips.us-gov-west-1.amazonaws.com',
    );
    assert.equal(
      await origin('s3://bucket', both),
      'https://bucket.s3-fips.dualstack.us-east-1.amazonaws.com',
    );
    const asked = home('use_dualstack_endpoint = true', 'region = eu-west-1');
    assert.equal(await origin('s3://bucket', asked), 'https://bucket.s3.dualstack.eu-west-1.amazonaws.com');
    const not = { ...asked, AWS_USE_DUALSTACK_ENDPOINT: 'false' };
    assert.equal(await origin('s3://bucket', not), 'https://bucket.s3.eu-west-1.amazonaws.com');
  });

  it('is refused in one line where it can not be had or told', async () => {
    const wrong: readonly (readonly [string, Variables, RegExp])[] = [
      [
        'cn-north-1',
        { AWS_USE_FIPS_ENDPOINT: 'true' },
        /^AWS_USE_FIPS_ENDPOINT .* none in region cn-north-1$/,
      ],
      [
        'eu-west-1',
        { AWS_USE_FIPS_ENDPOINT: 'yes' },
        /^AWS_USE_FIPS_ENDPOINT is 'yes': write true or false$/,
      ],
      ['eu-west-1', home('use_fips_endpoint = 1'), /^use_fips_endpoint of profile 'default' is '1'/],
      ['eu west', {}, /^'eu west' is not a region/],
    ];
    for (const [region, environment, message] of wrong)
      await assert.rejects(origin(`s3://bucket?region=${encodeURIComponent(region)}`, environment), {
        message,
      });
  });
});

describe('an endpoint that is named', () => {
  const all = { AWS_ENDPOINT_URL: 'http://all:1' };
  const s3 = { AWS_ENDPOINT_URL_S3: 'http://s3:1' };

  it('is S3’s before that of all services, and the environment’s before the profile’s', async () => {
    const profile = home('endpoint_url = http://profile:1');
    assert.equal(await origin('s3://bucket', { ...all, ...s3 }), 'http://s3:1');
    assert.equal(await origin('s3://bucket', { ...all, ...s3 }, 'http://flag:1'), 'http://flag:1');
    assert.equal(await origin('s3://bucket', { ...all, ...profile }), 'http://all:1');
    assert.equal(await origin('s3://bucket', profile), 'http://profile:1');
  });

  it('is not looked at where the environment or the profile says so, unless it is the flag’s', async () => {
    const aws = 'https://bucket.s3.us-east-1.amazonaws.com';
    const ignored = { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' };
    const inProfile = home('endpoint_url = http://profile:1', 'ignore_configured_endpoint_urls = true');
    assert.equal(await origin('s3://bucket', { ...all, ...s3, ...ignored }), aws);
    assert.equal(await origin('s3://bucket', { ...all, ...ignored }, 'http://flag:1'), 'http://flag:1');
    assert.equal(await origin('s3://bucket', { ...all, ...inProfile }), aws);
    const not = { ...inProfile, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'false' };
    assert.equal(await origin('s3://bucket', not), 'http://profile:1');
  });

  it('and FIPS are refused together unless it says that it is one; dual-stack is its own matter', async () => {
    const fips = { AWS_USE_FIPS_ENDPOINT: 'true' };
    await assert.rejects(origin('s3://bucket', fips, 'http://flag:1'), {
      message:
        /^AWS_USE_FIPS_ENDPOINT asks for a FIPS endpoint, and the S3 endpoint 'http:\/\/flag:1' is another/,
    });
    await assert.rejects(origin('s3://bucket', { ...all, ...home('use_fips_endpoint = true') }), {
      message: /^use_fips_endpoint of profile 'default' asks/,
    });
    const own = 'https://bucket.vpce-1.s3-fips.us-gov-west-1.vpce.amazonaws.com';
    assert.equal(await origin('s3://bucket', fips, own), own);
    assert.equal(await origin('s3://bucket', { ...all, AWS_USE_DUALSTACK_ENDPOINT: 'true' }), 'http://all:1');
  });

  it('needs no shared file that can not be read', async () => {
    const unreadable = { AWS_CONFIG_FILE: `/${'x'.repeat(300)}` };
    assert.equal(
      await origin('s3://bucket', { ...unreadable, ...all, AWS_REGION: 'eu-west-1' }),
      'http://all:1',
    );
    await assert.rejects(origin('s3://bucket', unreadable), { kind: 'denied' });
  });
});

describe('NO_PROXY', () => {
  const covers = (entries: string, where: string): boolean =>
    new Proxies({ HTTP_PROXY: 'http://proxy:1', NO_PROXY: entries }).to(where) === undefined;

  it('has names with their subdomains, addresses, ranges of addresses, ports, and *', () => {
    const covered: readonly (readonly [string, string])[] = [
      ['s3.test', 'http://s3.test'],
      ['s3.test', 'https://bucket.s3.test:9000'],
      ['.S3.test', 'http://s3.test'],
      ['*.s3.test', 'http://bucket.s3.test'],
      ['s3.test:9000', 'http://s3.test:9000'],
      ['s3.test:443', 'https://s3.test'],
      ['10.1.2.3', 'http://10.1.2.3:9000'],
      ['10.1.2.3:9000', 'http://10.1.2.3:9000'],
      ['other, 10.0.0.0/8,.svc', 'http://10.1.2.3:9000'],
      ['other 10.0.0.0/8 .svc', 'http://minio.storage.svc:9000'],
      ['fd00::/8', 'http://[fd12::1]:9000'],
      ['fd12:0::1', 'http://[fd12::1]:9000'],
      ['[fd12::1]', 'http://[fd12::1]:9000'],
      ['[fd12::1]:9000', 'http://[fd12::1]:9000'],
      ['other,*', 'https://s3.test'],
      ['', 'http://127.0.0.53:9000'],
      ['', 'http://[::1]:9000'],
      ['', 'http://localhost:9000'],
    ];
    for (const [entries, where] of covered) assert.ok(covers(entries, where), `${entries} has ${where}`);
  });

  it('has nothing else', () => {
    const others: readonly (readonly [string, string])[] = [
      ['s3.test', 'http://others3.test'],
      ['s3.test:9000', 'http://s3.test:9001'],
      ['s3.test:80', 'https://s3.test'],
      ['10.0.0.0/8', 'http://11.1.2.3'],
      ['10.0.0.0/33,10.0.0.0/x,/8,nonsense/8', 'http://10.1.2.3'],
      ['0.0.0.0/0', 'http://[fd12::1]'],
      ['::/0', 'http://10.1.2.3'],
      ['10.0.0.0/8', 'http://10.example'],
      ['2.3', 'http://10.1.2.3'],
    ];
    for (const [entries, where] of others) assert.ok(!covers(entries, where), `${entries} has not ${where}`);
  });

  it('an https origin goes through HTTPS_PROXY, else HTTP_PROXY; an http one through HTTP_PROXY alone', () => {
    const to = (environment: Variables, where: string): string | undefined =>
      new Proxies(environment).to(where);
    assert.equal(to({ HTTP_PROXY: 'one:1', HTTPS_PROXY: 'two:1' }, 'https://s3.test'), 'http://two:1');
    assert.equal(to({ HTTP_PROXY: 'one:1' }, 'https://s3.test'), 'http://one:1');
    assert.equal(to({ HTTPS_PROXY: 'two:1' }, 'http://s3.test'), undefined);
  });
});
