import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { tlsExpiries } from '../../src/main/rpc/tls-expiry.ts';
import { readTlsFiles } from '../../src/main/rpc/tls-files.ts';
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts';
import { missingTools } from '../support/tools.ts';

describe('when TLS files run out', { skip: missingTools('openssl'), timeout: 60_000 }, () => {
  let made: Certificates;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  /** As openssl tells: `notAfter=Nov 22 12:00:00 2026 GMT`. */
  function told(...words: readonly string[]): number {
    const [, date = ''] = execFileSync('openssl', words, { encoding: 'utf8' }).trim().split('=');
    return Date.parse(date) / 1000;
  }

  function notAfter({ certFile }: Certificate): number {
    return told('x509', '-in', certFile, '-noout', '-enddate');
  }

  /** A certificate that is valid for so many days, signed by itself. */
  function lasting(name: string, days: number): Certificate {
    const [certFile, keyFile] = ['crt', 'key'].map((end) => join(made.directory, `${name}.${end}`)) as [
      string,
      string,
    ];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
    const words = ['req', '-x509', ...key, '-days', String(days), '-subj', `/CN=${name}`, '-out', certFile];
    execFileSync('openssl', words, { stdio: 'ignore' });
    return { certFile, keyFile, cert: readFileSync(certFile), key: readFileSync(keyFile) };
  }

  /** The authority's list of revoked certificates, valid for so many days. */
  function list(days: number): string {
    made.revoke();
    const [file, conf] = [join(made.directory, `${days}.crl`), join(made.directory, 'ca.conf')];
    const { certFile, keyFile } = made.authority;
    const own = ['ca', '-config', conf, '-cert', certFile, '-keyfile', keyFile];
    execFileSync('openssl', [...own, '-gencrl', '-crldays', String(days), '-out', file], { stdio: 'ignore' });
    return file;
  }

  it('is the first to end of the certificates shown, and the last of the authorities', () => {
    const { server, authority } = made;
    const [long, beyond2050] = [lasting('long', 400), lasting('beyond', 12_000)];
    assert.deepEqual(tlsExpiries(server), { certificate: notAfter(server) });
    const chain = Buffer.concat([long.cert, server.cert, beyond2050.cert]);
    const ca = Buffer.concat([authority.cert, beyond2050.cert, long.cert]);
    assert.deepEqual(tlsExpiries({ cert: chain, key: long.key, ca }), {
      certificate: notAfter(server),
      authority: notAfter(beyond2050),
    });
  });

  it('is the first to end of the lists of revoked certificates, in either form of a date, PEM or DER', () => {
    const { server, authority } = made;
    const files = { certFile: server.certFile, keyFile: server.keyFile, trustedCaFile: authority.certFile };
    for (const days of [3, 12_000]) {
      const pem = list(days);
      const der = `${pem}.der`;
      execFileSync('openssl', ['crl', '-in', pem, '-outform', 'DER', '-out', der]);
      const end = told('crl', '-in', pem, '-noout', '-nextupdate');
      for (const clientCrlFile of [pem, der]) {
        assert.equal(tlsExpiries(readTlsFiles({ ...files, clientCrlFile })).revocation_list, end);
      }
    }
    const [long, short] = [list(12_000), list(3)];
    const both = [long, short].map((file) => readFileSync(file, 'utf8'));
    const { revocation_list: first } = tlsExpiries({ ...server, crl: both });
    assert.equal(first, told('crl', '-in', short, '-noout', '-nextupdate'));
    assert.ok(!('revocation_list' in tlsExpiries({ ...server, crl: ['-----BEGIN X509 CRL-----\nMAMC\n'] })));
  });
});
