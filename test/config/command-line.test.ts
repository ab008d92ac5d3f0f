import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { parseCommandLine, parseSettings } from '../../src/main/config/command-line.ts';
import { environmentName, FLAGS, type FlagKey } from '../../src/main/config/flags.ts';
import { SettingsError } from '../../src/main/config/settings.ts';
import { NETSY_VERSION } from '../../src/shared/model/version.ts';

/** The one line that these words are refused with. */
function refusal(words: string, environment: Record<string, string> = {}): string {
  try {
    parseCommandLine(words.split(' ').filter(Boolean), environment);
  } catch (error) {
    assert.ok(error instanceof SettingsError, String(error));
    assert.ok(!error.message.includes('\n'), 'the message is one line');
    return error.message;
  }
  return assert.fail(`"${words}" was accepted`);
}

function printed(...argv: string[]): string {
  const parsed = parseCommandLine(argv, {});
  assert.ok(parsed.command === 'print');
  return parsed.text;
}

/** A usable value of each flag that is not its default, and the flags it needs beside it. */
const SAMPLES: Record<FlagKey, { text: string; beside?: string[] }> = {
  listenClientUrls: { text: 'http://127.0.0.1:1,http://[::1]:2' },
  advertiseClientUrls: { text: 'https://db.example:2379' },
  name: { text: 'one' },
  maxRequestBytes: { text: '2MiB' },
  maxTxnOps: { text: '256' },
  maxConcurrentStreams: { text: '100' },
  grpcKeepaliveInterval: { text: '1h' },
  grpcKeepaliveTimeout: { text: '5s' },
  certFile: { text: 'a.crt', beside: ['--key-file=a.key', '--listen-client-urls=https://[::1]:1'] },
  keyFile: { text: 'a.key', beside: ['--cert-file=a.crt', '--listen-client-urls=https://[::1]:1'] },
  trustedCaFile: {
    text: 'ca.crt',
    beside: ['--cert-file=a.crt', '--key-file=a.key', '--listen-client-urls=https://127.0.0.1:1'],
  },
  clientCertAuth: {
    text: 'true',
    beside: [
      '--cert-file=a.crt',
      '--key-file=a.key',
      '--trusted-ca-file=ca.crt',
      '--listen-client-urls=https://127.0.0.1:1',
    ],
  },
  authToken: { text: 'jwt,sign-method=RS256,priv-key=a.key,ttl=10m' },
  authTokenTtl: { text: '60' },
  bcryptCost: { text: '12' },
  dataDir: { text: '/tmp/elsewhere' },
  store: { text: 's3://bucket/prefix' },
  cacheDir: { text: '/tmp/cache' },
  quotaBackendBytes: { text: '2GiB' },
  leaseTtl: { text: '3s' },
  s3Endpoint: { text: 'http://127.0.0.1:9000', beside: ['--store=s3://bucket'] },
  s3Region: { text: 'eu-central-1', beside: ['--store=s3://bucket'] },
  s3Addressing: { text: 'path', beside: ['--store=s3://bucket'] },
  s3Dialect: { text: 'gcs', beside: ['--store=s3://bucket'] },
  s3CaFile: { text: 'ca.crt', beside: ['--store=s3://bucket'] },
  s3RoleArn: { text: 'arn:aws:iam::111122223333:role/netsy', beside: ['--store=s3://bucket'] },
  s3ExternalId: { text: 'x', beside: ['--store=s3://bucket', '--s3-role-arn=arn:aws:iam::1:role/a'] },
  s3Sse: { text: 'aws:kms', beside: ['--store=s3://bucket'] },
  s3SseKmsKeyId: { text: 'alias/netsy', beside: ['--store=s3://bucket'] },
  s3BucketKey: { text: 'true', beside: ['--store=s3://bucket'] },
  s3StorageClass: { text: 'STANDARD', beside: ['--store=s3://bucket'] },
  batchWindow: { text: '7ms' },
  batchMaxBytes: { text: '8MiB' },
  batchMaxRequests: { text: '10' },
  pipelineDepth: { text: '64' },
  hedgeAfter: { text: '80ms' },
  putBudget: { text: '10/s' },
  requestTimeout: { text: '5s' },
  queueMaxBytes: { text: '1GiB' },
  queueMaxRequests: { text: '1000' },
  poolThreads: { text: '2' },
  readerWorkers: { text: '3' },
  watchProgressNotifyInterval: { text: '1m30s' },
  watchBufferBytes: { text: '0' },
  watchStreamBufferBytes: { text: '512KiB' },
  autoCompactionMode: { text: 'revision', beside: ['--auto-compaction-retention=10'] },
  autoCompactionRetention: { text: '30m' },
  mergeChunks: { text: '0' },
  snapshotRecords: { text: '1000' },
  snapshotBytes: { text: '1MiB' },
  snapshotAge: { text: '1h' },
  retention: { text: 'forever' },
  logLevel: { text: 'debug' },
  logFormat: { text: 'console' },
  slowWriteLog: { text: '250ms' },
};

describe('command line', () => {
  it('serves etcd’s address out of ./data when nothing is given', () => {
    const settings = parseSettings([], {});
    assert.deepEqual(settings.listenClientUrls, ['http://127.0.0.1:2379']);
    assert.equal(settings.cacheDir, resolve('data/cache'));
    assert.equal(settings.store, `file://${resolve('data/store')}`);
    assert.equal(settings.maxRequestBytes, 1_572_864);
    assert.equal(settings.batchWindowMs, 8);
    assert.deepEqual(settings.hedgeAfter, { kind: 'auto' });
    assert.equal(settings.watchProgressNotifyIntervalMs, 600_000);
    assert.equal(settings.tls, undefined);
  });

  it('gives settings that nothing can change later', () => {
    const settings = parseSettings(['--store=s3://bucket'], {});
    assert.ok(Object.isFrozen(settings));
    assert.ok(Object.isFrozen(settings.s3));
    assert.ok(Object.isFrozen(settings.listenClientUrls));
    assert.ok(Object.isFrozen(settings.hedgeAfter));
  });

  for (const key of Object.keys(FLAGS) as FlagKey[]) {
    const { name } = FLAGS[key];
    it(`reads --${name} the same from the flag, from its own word and from ${environmentName(name)}`, () => {
      const { text, beside = [] } = SAMPLES[key];
      const joined = parseSettings([`--${name}=${text}`, ...beside], {});
      assert.notDeepEqual(joined, parseSettings([], {}), 'the sample changes something');
      assert.deepEqual(parseSettings([`--${name}`, text, ...beside], {}), joined);
      assert.deepEqual(parseSettings(beside, { [environmentName(name)]: text }), joined);
    });
  }

  it('lets a flag win over its variable, and the last of two flags over the first', () => {
    assert.equal(parseSettings(['--name=flag'], { NETSY_NAME: 'variable' }).name, 'flag');
    assert.equal(parseSettings(['--name=one', '--name=two'], {}).name, 'two');
  });

  it('refuses an empty flag, and takes an empty variable for one that is not set', () => {
    assert.equal(refusal('--name='), '--name: is empty; give a value or leave it out');
    assert.equal(parseSettings([], { NETSY_NAME: '' }).name, 'default');
  });

  it('names the variable when the bad value came from there', () => {
    assert.match(
      refusal('', { NETSY_PIPELINE_DEPTH: '65' }),
      /^NETSY_PIPELINE_DEPTH: "65" is out of range; use 1 to 64$/,
    );
  });

  it('answers an unknown flag with the nearest one, or with the way to the help', () => {
    assert.match(
      refusal('--batch-windw 3ms'),
      /unknown option '--batch-windw' \(Did you mean --batch-window\?\)/,
    );
    assert.match(refusal('-data-dir x'), /Did you mean --data-dir\?/);
    assert.match(refusal('--initial-cluster=x'), /unknown option '--initial-cluster.*see netsy --help/);
    assert.match(refusal('--name'), /'--name <text>' argument missing/);
    assert.match(refusal('serve'), /"serve" is not a command/);
  });

  it('reads a boolean flag alone, as true and as false', () => {
    const secure = [
      '--cert-file=a',
      '--key-file=b',
      '--trusted-ca-file=c',
      '--listen-client-urls=https://[::1]:1',
    ];
    const alone = parseSettings(['--client-cert-auth', ...secure], {});
    assert.deepEqual(parseSettings(['--client-cert-auth=true', ...secure], {}), alone);
    assert.equal(parseSettings(['--client-cert-auth=false'], {}).tls, undefined);
    assert.match(
      refusal('--client-cert-auth=yes'),
      /^--client-cert-auth: "yes" is not known; use true, false$/,
    );
  });

  it('gives inspect its files and refuses it without', () => {
    assert.deepEqual(parseCommandLine(['inspect', 'a', 'b'], {}), { command: 'inspect', files: ['a', 'b'] });
    assert.equal(refusal('inspect'), 'inspect: name at least one .netsy file');
  });

  it('prints every flag with its default in --help, and the package’s version in --version', () => {
    const help = printed('--help');
    for (const { name, default: text } of Object.values<{ name: string; default?: string }>(FLAGS)) {
      assert.match(help, new RegExp(`^ {2}--${name} `, 'm'));
      if (text !== undefined) assert.ok(help.replace(/\s+/g, ' ').includes(`(default: ${text})`), name);
    }
    assert.match(help, /netsy inspect FILE/);
    const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    assert.equal(NETSY_VERSION, manifest.version);
    assert.match(printed('--version'), new RegExp(`^netsy ${NETSY_VERSION}\n`));
  });

  it('warns of a mistyped variable and of a certificate that is not used, but not of Kubernetes’ own variables', () => {
    const environment = {
      NETSY_BATCHWINDOW: '3ms',
      NETSY_SERVICE_HOST: '10.0.0.1',
      NETSY_PORT: 'tcp://10.0.0.1:2379',
    };
    const parsed = parseCommandLine(['--cert-file=a', '--key-file=b'], environment);
    assert.ok(parsed.command === 'serve');
    assert.equal(parsed.warnings.length, 2);
    assert.match(parsed.warnings[0] ?? '', /^--cert-file: .*does not use TLS/);
    assert.match(parsed.warnings[1] ?? '', /^NETSY_BATCHWINDOW: /);
  });
});

describe('settings that do not fit together', () => {
  const cases: readonly [words: string, line: RegExp][] = [
    ['--cert-file=a', /^--cert-file: needs --key-file/],
    ['--key-file=a', /^--key-file: needs --cert-file/],
    ['--listen-client-urls=https://127.0.0.1:1', /needs --cert-file and --key-file$/],
    ['--client-cert-auth --cert-file=a --key-file=b', /^--client-cert-auth: needs --trusted-ca-file/],
    ['--trusted-ca-file=a', /^--trusted-ca-file: no listen URL uses TLS/],
    ['--batch-max-bytes=1MiB', /^--batch-max-bytes: 1048576 is less than --max-request-bytes, 1572864/],
    ['--queue-max-bytes=2MiB', /^--queue-max-bytes: 2097152 is less than --batch-max-bytes/],
    ['--queue-max-requests=999', /^--queue-max-requests: 999 is less than --batch-max-requests, 1000/],
    ['--batch-window=2s --request-timeout=1s', /^--batch-window: must be shorter than --request-timeout/],
    [
      '--auto-compaction-mode=revision --auto-compaction-retention=5m',
      /^--auto-compaction-retention: is a count of revisions in mode revision/,
    ],
    ['--hedge-after=10s', /^--hedge-after: must be shorter than --request-timeout/],
    [
      '--put-budget=10/m',
      /^--put-budget: "10\/m" is not a rate; use off, or so many per second such as 10\/s$/,
    ],
    ['--put-budget=0', /^--put-budget: "0" is out of range; use 1 to 100000$/],
    [
      '--put-budget=5 --lease-ttl=1s',
      /^--put-budget: the primary's lease alone takes 3.0 PUTs per second; .* --lease-ttl$/,
    ],
    [
      '--put-budget=2 --request-timeout=1s',
      /^--put-budget: writes may wait 1500ms .* --request-timeout above that$/,
    ],
    ['--s3-region=x', /^--s3-region: is for an S3 store/],
    ['--cache-dir=data', /^--cache-dir: .* must not hold one another/],
    ['--cache-dir=data/store/cache', /^--cache-dir: .* must not hold one another/],
  ];
  for (const [words, line] of cases) {
    it(`refuses ${words}`, () => assert.match(refusal(words), line));
  }
});
