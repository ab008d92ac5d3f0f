import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { expiryFinding } from '../../src/main/audit/doctor-certificate.ts';
import type { DoctorFinding } from '../../src/main/audit/doctor-finding.ts';
import { examineStore } from '../../src/main/audit/doctor-store.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { ManualClock } from '../support/clock.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';

const KEYS = { AWS_ACCESS_KEY_ID: 'a-key', AWS_SECRET_ACCESS_KEY: 'a-secret' };

interface Report {
  readonly ok: boolean;
  readonly findings: readonly DoctorFinding[];
}

function doctor(environment: Record<string, string>, ...words: string[]): Report & { code: number | null } {
  const run = runNetsy(['doctor', '--json', ...words], environment);
  return { ...(JSON.parse(run.stdout) as Report), code: run.code };
}

function failures({ findings }: Report): string[] {
  return findings.filter(({ result }) => result === 'fail').map(({ check, text }) => `${check}: ${text}`);
}

describe('netsy doctor', { timeout: 120_000 }, () => {
  it('finds a machine and a directory store well, in words, and leaves nothing behind', () => {
    const dataDir = temporaryDirectory();
    const listen = 'http://127.0.0.1:0';
    const { code, stdout } = runNetsy(['doctor', '--data-dir', dataDir, '--listen-client-urls', listen]);
    assert.equal(code, 0, stdout);
    for (const check of ['store', 'clock', 'disk', 'limits', 'ports'])
      assert.match(stdout, new RegExp(`^(?:ok|warn) +${check} `, 'm'));
    assert.match(stdout, /a conditional create takes \d/);
    assert.ok(!existsSync(join(dataDir, 'cache')));
    assert.deepEqual(readdirSync(join(dataDir, 'store'), { recursive: true }).filter(isProbe), []);
  });

  it('says which port is in use, and that the store can not be reached, and goes on with the rest', async () => {
    const netsy = await startNetsy();
    try {
      const where = ['--store', 's3://bucket/p', '--s3-endpoint', 'http://127.0.0.1:1', '--s3-region', 'x'];
      const data = ['--data-dir', temporaryDirectory(), '--listen-client-urls', netsy.endpoint];
      const report = doctor(KEYS, ...where, ...data);
      assert.equal(report.code, 1);
      assert.equal(report.ok, false);
      const [store, ports] = failures(report);
      assert.match(store ?? '', /^store: the store s3:\/\/bucket\/p.*ECONNREFUSED/);
      assert.equal(ports, `ports: ${netsy.endpoint} is in use already; is a server running here?`);
      assert.ok(report.findings.some(({ check, result }) => check === 'disk' && result === 'ok'));
    } finally {
      await netsy.stop();
    }
  });

  it('names the TLS file that is not one', () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'server.crt');
    writeFileSync(file, 'not a certificate');
    const tls = ['--cert-file', file, '--key-file', file, '--listen-client-urls', 'https://127.0.0.1:0'];
    const report = doctor({}, '--data-dir', directory, ...tls);
    assert.deepEqual(failures(report), [`tls: --cert-file: ${file} is not a certificate in PEM form`]);
    assert.equal(report.code, 1);
  });

  it('warns of a certificate before it ends, and fails one that has ended or has not begun', () => {
    const day = 86_400_000;
    const now = Date.parse('2026-03-01T00:00:00Z');
    const at = (from: number, to: number): string => {
      const times = { validFrom: new Date(from).toUTCString(), validTo: new Date(to).toUTCString() };
      const { result, text } = expiryFinding('--cert-file', times, now);
      return `${result} ${text}`;
    };
    assert.match(at(now - day, now + 90 * day), /^ok --cert-file: is valid for 90 more days/);
    assert.match(at(now - day, now + 5 * day), /^warn .*for 5 more days.*renew it$/);
    assert.match(at(now - 9 * day, now - day), /^fail .*has ended on .*renew it$/);
    assert.match(at(now + day, now + 9 * day), /^fail .*valid only from/);
  });

  it('a clock that is wrong by the store’s own is found, and by how much', async () => {
    for (const [skewMs, wanted] of [
      [0, /^ok clock this machine’s clock agrees/],
      [60_000, /^warn clock .*60 s ahead of the store’s/],
      [-20 * 60_000, /^fail clock .*1200 s behind the store’s/],
    ] as const) {
      const clock = new ManualClock();
      const store = new MemoryStore(() => clock.wallMs() - skewMs);
      const findings = await examineStore({ store, clock, random: systemRandom });
      const said = findings.map(({ result, check, text }) => `${result} ${check} ${text}`);
      assert.match(said.find((one) => one.includes(' clock ')) ?? '', wanted, said.join('\n'));
    }
  });
});

function isProbe(name: string | Buffer): boolean {
  return String(name).includes('probe/');
}
