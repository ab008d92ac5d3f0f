import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Flag } from '../../src/main/config/flag.ts';
import { FLAGS } from '../../src/main/config/flags.ts';
import { shownValue } from '../../src/main/config/shown-values.ts';
import { runNetsy, temporaryDirectory } from '../support/netsy.ts';

const ALL: readonly Flag<unknown>[] = Object.values(FLAGS);

describe('netsy config check', { timeout: 60_000 }, () => {
  it('says of every flag what would be used, and where it came from', () => {
    const words = ['config', 'check', '--json', '--name', 'north'];
    const { code, stdout } = runNetsy(words, { NETSY_BATCH_WINDOW: '7ms', NETSY_BATCHWINDOW: '1' });
    assert.equal(code, 0);
    const told = JSON.parse(stdout) as {
      ok: boolean;
      warnings: string[];
      values: { flag: string; value?: string; source: string }[];
    };
    assert.deepEqual(
      told.values.map(({ flag }) => flag),
      ALL.map(({ name }) => name),
    );
    const of = (name: string): unknown => told.values.find(({ flag }) => flag === name);
    assert.deepEqual(of('name'), { flag: 'name', value: 'north', source: '--name' });
    assert.deepEqual(of('batch-window'), {
      flag: 'batch-window',
      value: '7ms',
      source: 'NETSY_BATCH_WINDOW',
    });
    assert.deepEqual(of('log-level'), { flag: 'log-level', value: 'info', source: 'default' });
    assert.match(told.warnings.join(), /NETSY_BATCHWINDOW: is not a setting/);
    const { stdout: text } = runNetsy(['config', 'check', '--name', 'north']);
    assert.match(text, /^--name +north +--name$/m);
  });

  it('ends with 1 and one line that says what to change, also of a file that can not be read', () => {
    const refusal = (...words: string[]): string => {
      const { code, stderr, stdout } = runNetsy(['config', 'check', ...words]);
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.equal(stderr.trim().split('\n').length, 1);
      return stderr.trim();
    };
    assert.match(refusal('--batch-window', 'soon'), /^netsy: --batch-window: "soon" is not a duration/);
    const key = join(temporaryDirectory(), 'missing.key');
    assert.match(refusal('--auth-token', `jwt,sign-method=RS256,priv-key=${key},ttl=1m`), /missing\.key/);
    const tls = ['--cert-file', key, '--key-file', key, '--listen-client-urls', 'https://127.0.0.1:0'];
    assert.match(refusal(...tls), /^netsy: --cert-file: can't be read: /);
    const s3 = ['--store', 's3://bucket/prefix', '--s3-ca-file', key];
    assert.match(refusal(...s3), /^netsy: --s3-ca-file: .*missing\.key is not a file that can be read: /);
    const china = ['config', 'check', '--store', 's3://bucket', '--s3-region', 'cn-north-1'];
    assert.match(
      runNetsy(china, { HOME: '/nonexistent', AWS_USE_FIPS_ENDPOINT: 'true' }).stderr,
      /^netsy: AWS_USE_FIPS_ENDPOINT asks for a FIPS endpoint, and S3 has none in region cn-north-1\n$/,
    );
    const { code, stderr } = runNetsy(['config', 'chek']);
    assert.deepEqual(
      [code, stderr.trim()],
      [1, 'netsy: config: "chek" is not known; use netsy config check'],
    );
  });

  it('shows no secret', () => {
    assert.equal(shownValue('proxy', 'http://me:secret@proxy:3128'), 'http://(hidden)@proxy:3128');
    assert.equal(shownValue('store', 's3://bucket/p?token=secret'), 's3://bucket/p?(hidden)');
    assert.equal(shownValue('s3-secret-access-key', 'secret'), '(hidden)');
    assert.equal(shownValue('session-token', 'secret'), '(hidden)');
    assert.equal(shownValue('auth-token', 'simple'), 'simple');
  });
});
