import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { commandNamed, parseCommandLine, parseSettings } from '../../src/main/config/command-line.ts';
import { environmentName, FLAGS, type FlagKey } from '../../src/main/config/flags.ts';
import { SettingsError } from '../../src/main/config/settings.ts';
import { ETCD_VERSION, NETSY_VERSION } from '../../src/shared/model/version.ts';

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

const PAIR = ['--cert-file=a.crt', '--key-file=a.key'];
const HTTPS = '--listen-client-urls=https://[::1]:1';
const MUTUAL = [...PAIR, '--trusted-ca-file=ca.crt', HTTPS];

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
  listenMetricsUrls: { text: 'http://127.0.0.1:1,http://localhost:2' },
  maxConnections: { text: '100' },
  maxStreams: { text: '100' },
  maxWaitingAnswerBytes: { text: '32MiB' },
  maxHeaderBytes: { text: '8KiB' },
  handshakeTimeout: { text: '3s' },
  requestReadTimeout: { text: '20s' },
  drainTimeout: { text: '0' },
  certFile: { text: 'a.crt', beside: ['--key-file=a.key', HTTPS] },
  keyFile: { text: 'a.key', beside: ['--cert-file=a.crt', HTTPS] },
  trustedCaFile: { text: 'ca.crt', beside: [...PAIR, HTTPS] },
  clientCertAuth: { text: 'true', beside: MUTUAL },
  clientCertAllowedCn: { text: 'one,two', beside: MUTUAL },
  clientCertAllowedHostname: { text: 'one.example,10.0.0.1', beside: MUTUAL },
  clientCrlFile: { text: 'revoked.crl', beside: MUTUAL },
  tlsMinVersion: { text: 'TLS1.3', beside: MUTUAL },
  tlsMaxVersion: { text: 'TLS1.2', beside: MUTUAL },
  cipherSuites: { text: 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', beside: MUTUAL },
  insecure: { text: 'true' },
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
  poolThreads: { text: '3' },
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
  warningUnaryRequestDuration: { text: '1s' },
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
    assert.match(refusal('serve'), /"serve" is not a command; use one of /);
    assert.equal(refusal('statsu'), '"statsu" is not a command (Did you mean status?)');
    assert.equal(refusal('help verfy'), '"verfy" is not a command (Did you mean verify?)');
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

  it('takes no word for the value of a boolean flag that is none', () => {
    for (const words of [
      ['--insecure', 'verify', '/x'],
      ['--insecure', 'true', 'verify', '/x'],
    ]) {
      assert.equal(parseCommandLine(words, {}).command, 'verify', words.join(' '));
      assert.equal(commandNamed(words), 'verify', words.join(' '));
    }
    assert.equal(parseSettings(['--insecure', 'false'], {}).insecure, false);
    assert.match(refusal('--insecure serve'), /"serve" is not a command/);
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
    const versions = { netsy: NETSY_VERSION, etcd: ETCD_VERSION };
    for (const words of [
      ['--version', '--json'],
      ['--json', '--version'],
    ])
      assert.deepEqual(JSON.parse(printed(...words)), versions);
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
    assert.match(
      parsed.warnings[1] ?? '',
      /^NETSY_BATCHWINDOW: .*not used \(Did you mean NETSY_BATCH_WINDOW\?\)$/,
    );
    const far = parseCommandLine([], { NETSY_INITIAL_CLUSTER: 'x' });
    assert.ok(far.command === 'serve');
    assert.match(far.warnings[0] ?? '', /^NETSY_INITIAL_CLUSTER: .*not used; see netsy --help$/);
  });
});

describe('settings that do not fit together', () => {
  it('--max-request-bytes alone, as etcd has it, raises what must hold such a request, unless that was given', () => {
    const { batchBytesMax, queueBytesMax } = parseSettings(['--max-request-bytes=100MiB'], {});
    assert.deepEqual([batchBytesMax, queueBytesMax], [104_857_600, 104_857_600]);
    const given = ['--max-request-bytes=8MiB', '--batch-max-bytes=7MiB'];
    assert.match(refusal(given.join(' ')), /^--batch-max-bytes: 7340032 is less than --max-request-bytes/);
    const queue = ['--max-request-bytes=100MiB', '--queue-max-bytes=64MiB'];
    assert.match(refusal(queue.join(' ')), /^--queue-max-bytes: 67108864 is less than --batch-max-bytes/);
  });

  const cases: readonly [words: string, line: RegExp][] = [
    ['--cert-file=a', /^--cert-file: needs --key-file/],
    ['--key-file=a', /^--key-file: needs --cert-file/],
    ['--listen-client-urls=https://127.0.0.1:1', /needs --cert-file and --key-file$/],
    ['--client-cert-auth --cert-file=a --key-file=b', /^--client-cert-auth: needs --trusted-ca-file/],
    ['--trusted-ca-file=a', /^--trusted-ca-file: no listen URL uses TLS/],
    ['--client-cert-allowed-cn=a', /^--client-cert-allowed-cn: needs --trusted-ca-file/],
    ['--client-crl-file=a', /^--client-crl-file: needs --trusted-ca-file/],
    [
      `${MUTUAL.join(' ')} --client-cert-allowed-cn=a --client-cert-allowed-hostname=b`,
      /^--client-cert-allowed-cn: can not be used with --client-cert-allowed-hostname; drop one of them$/,
    ],
    ['--client-cert-allowed-hostname=*.a', /^--client-cert-allowed-hostname: "\*\.a" is not a host name/],
    ['--client-cert-allowed-hostname=.a', /^--client-cert-allowed-hostname: "\.a" is not a host name/],
    ['--client-cert-allowed-cn=a,,b', /^--client-cert-allowed-cn: "a,,b" has an empty name/],
    [
      `${MUTUAL.join(' ')} --tls-min-version=TLS1.3 --tls-max-version=TLS1.2`,
      /^--tls-min-version: TLS1\.3 is newer than --tls-max-version$/,
    ],
    [
      `${MUTUAL.join(' ')} --tls-min-version=TLS1.3 --cipher-suites=TLS_RSA_WITH_AES_128_GCM_SHA256`,
      /^--cipher-suites: those of TLS 1\.3 are fixed/,
    ],
    ['--cipher-suites=TLS_AES_128_GCM_SHA256', /^--cipher-suites: .* has none for TLS 1\.2/],
    ['--cipher-suites=TLS_RSA_WITH_RC4_128_SHA', /^--cipher-suites: "TLS_RSA_WITH_RC4_128_SHA" is not known/],
    [
      '--listen-metrics-urls=https://127.0.0.1:1',
      /^--listen-metrics-urls: https:\/\/127\.0\.0\.1:1 needs --cert-file and --key-file$/,
    ],
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
    ['--s3-sse=AES256', /^--s3-sse: is for an S3 store/],
    ['--store=s3://bucket --s3-external-id=x', /^--s3-external-id: needs --s3-role-arn/],
    ['--store=s3://bucket --s3-sse=AES256 --s3-sse-kms-key-id=k', /^--s3-sse-kms-key-id: is for .*aws:kms/],
    ['--store=s3://bucket --s3-storage-class=DEEP_ARCHIVE', /^--s3-storage-class: .*thawed/],
    ['--store=s3://bucket --s3-storage-class=cheap', /^--s3-storage-class: "cheap" is not a storage class/],
    ['--cache-dir=data', /^--cache-dir: .* must not hold one another/],
    ['--cache-dir=data/store/cache', /^--cache-dir: .* must not hold one another/],
  ];
  for (const [words, line] of cases) {
    it(`refuses ${words}`, () => assert.match(refusal(words), line));
  }
});

describe('plain text', () => {
  const refused = (url: string): RegExp =>
    new RegExp(
      `^--listen-client-urls: ${url.replace(/[[\].]/g, '\\$&')} would serve other machines without TLS; use https:// with --cert-file and --key-file, or add --insecure$`,
    );

  it('is served on loopback, however it is written', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', 'localhost', '[::1]', '[0:0:0:0:0:0:0:1]']) {
      parseSettings([`--listen-client-urls=http://${host}:1`], {});
    }
  });

  it('is refused on every other address, in one line that says what to change', () => {
    for (const host of ['0.0.0.0', '10.0.0.1', '128.0.0.1', '[::]', '[fe80::1]', '[::ffff:10.0.0.1]']) {
      assert.match(refusal(`--listen-client-urls=http://${host}:1`), refused(`http://${host}:1`));
    }
    assert.match(
      refusal('--listen-client-urls=http://127.0.0.1:1,http://0.0.0.0:2'),
      refused('http://0.0.0.0:2'),
    );
    assert.match(refusal('--listen-metrics-urls=http://0.0.0.0:1'), /^--listen-metrics-urls: http:/);
  });

  it('is served everywhere with --insecure, with a warning', () => {
    const parsed = parseCommandLine(['--insecure', '--listen-client-urls=http://0.0.0.0:1'], {});
    assert.ok(parsed.command === 'serve');
    assert.match(parsed.warnings.join(), /^--insecure: .* can read and change everything$/);
  });
});

describe('cipher suites', () => {
  it('have Go’s names, and those of TLS 1.3 stay', () => {
    const { tls } = parseSettings(
      [
        ...MUTUAL,
        '--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305',
      ],
      {},
    );
    assert.equal(
      tls?.rules.ciphers,
      'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305',
    );
  });
});
