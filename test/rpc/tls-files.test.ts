import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readTlsFiles } from '../../src/main/rpc/tls-files.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { missingTools } from '../support/tools.ts';

describe('TLS files', { skip: missingTools('openssl') }, () => {
  let made: Certificates | undefined;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  function files(): { certFile: string; keyFile: string; trustedCaFile: string | undefined } {
    assert.ok(made !== undefined);
    return { ...made.server, trustedCaFile: made.authority.certFile };
  }

  it('are read', () => {
    assert.deepEqual(readTlsFiles(files()).ca, made?.authority.cert);
    assert.ok(!('ca' in readTlsFiles({ ...files(), trustedCaFile: undefined })));
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
    refuses({ trustedCaFile: keyFile }, /^--trusted-ca-file: .*\.key is not a certificate in PEM form$/);
  });
});
