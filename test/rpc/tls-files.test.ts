import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { readTlsFiles, type TlsFiles } from '../../src/main/rpc/tls-files.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { missingTools } from '../support/tools.ts';

describe('TLS files', { skip: missingTools('openssl') }, () => {
  let made: Certificates | undefined;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  function files(): TlsFiles {
    assert.ok(made !== undefined);
    const { certFile, keyFile } = made.server;
    return { certFile, keyFile, trustedCaFile: made.authority.certFile, clientCrlFile: undefined };
  }

  it('are read', () => {
    assert.deepEqual(readTlsFiles(files()).ca, made?.authority.cert);
    assert.ok(!('ca' in readTlsFiles({ ...files(), trustedCaFile: undefined })));
  });

  it('have lists of revoked certificates in PEM, one after the other, or in DER as etcd’s', () => {
    assert.ok(made !== undefined);
    const clientCrlFile = made.revoke(made.client);
    const pem = readFileSync(clientCrlFile, 'utf8');
    assert.deepEqual(readTlsFiles({ ...files(), clientCrlFile }).crl, [pem]);
    writeFileSync(clientCrlFile, pem + pem);
    assert.equal(readTlsFiles({ ...files(), clientCrlFile }).crl?.length, 2);
    const der = Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
    writeFileSync(clientCrlFile, der);
    assert.deepEqual(readTlsFiles({ ...files(), clientCrlFile }).crl, [pem]);
  });

  it('are refused in one line that names the flag', () => {
    const { certFile, keyFile } = files();
    const refuses = (change: object, line: RegExp): void => {
      assert.throws(() => readTlsFiles({ ...files(), ...change }), { message: line });
    };
    refuses({ certFile: `${certFile}x` }, /^--cert-file: can't be read: ENOENT.*$/);
    refuses({ certFile: keyFile }, /^--cert-file: .*\.key is not a certificate in PEM form$/);
    refuses({ keyFile: certFile }, /^--key-file: .* is not the key of --cert-file \(.*\)$/);
    refuses({ keyFile: made?.client.keyFile }, /^--key-file: .* is not the key of --cert-file \(.*\)$/);
    refuses({ clientCrlFile: certFile }, /^--client-crl-file: .*\.crt is not a list of revoked certificates/);
    refuses({ trustedCaFile: keyFile }, /^--trusted-ca-file: .*\.key is not a certificate in PEM form$/);
    const bundle = `${certFile}.bundle`;
    const nonsense = '-----BEGIN CERTIFICATE-----\nMIIBnonsense\n-----END CERTIFICATE-----\n';
    writeFileSync(bundle, readFileSync(certFile, 'utf8') + nonsense);
    for (const flag of ['certFile', 'trustedCaFile']) {
      refuses(
        { [flag]: bundle },
        /^--(cert|trusted-ca)-file: .*\.bundle .*: certificate 2 of its 2 is none$/,
      );
    }
    const encrypted = `${keyFile}.encrypted`;
    const words = ['pkcs8', '-topk8', '-in', keyFile, '-out', encrypted, '-passout', 'pass:secret'];
    execFileSync('openssl', words, { stdio: 'ignore' });
    refuses({ keyFile: encrypted }, /^--key-file: .* is encrypted; write it without a passphrase$/);
  });
});
