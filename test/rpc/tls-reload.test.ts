import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readTlsFiles, type TlsFiles, type TlsMaterial } from '../../src/main/rpc/tls-files.ts';
import { TlsReload } from '../../src/main/rpc/tls-reload.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import type { LogFields } from '../../src/shared/base/log.ts';
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts';
import { ManualClock } from '../support/clock.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

/** One that is manual, and begins at a time. */
class ClockAt extends ManualClock {
  readonly #offsetMs: number;

  constructor(wallMs: number) {
    super();
    this.#offsetMs = wallMs - super.wallMs();
  }

  override wallMs(): number {
    return super.wallMs() + this.#offsetMs;
  }
}

/** A reload of one pair of files, which looks when it is told. */
class Watched {
  readonly directory = temporaryDirectory();
  readonly changes: TlsMaterial[] = [];
  readonly logged: { level: string; fields: LogFields | undefined }[] = [];
  readonly #clock: ClockAt;
  readonly #reload: TlsReload;

  constructor(
    write: (directory: string) => Pick<TlsFiles, 'certFile' | 'keyFile'>,
    beginsMs = systemClock.wallMs(),
  ) {
    this.#clock = new ClockAt(beginsMs);
    const files = { ...write(this.directory), trustedCaFile: undefined, clientCrlFile: undefined };
    const at = (level: string) => (_message: string, fields?: LogFields) => {
      this.logged.push({ level, fields });
    };
    this.#reload = new TlsReload({
      files,
      material: readTlsFiles(files),
      clock: this.#clock,
      log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
      changed: (material) => this.changes.push(material),
    });
    this.#reload.start();
  }

  /** Lets it look once, so much later. */
  async look(afterMs = 1_000): Promise<void> {
    const isWaiting = (): boolean => this.#clock.waiting > 0;
    assert.ok(isWaiting());
    this.#clock.advance(afterMs);
    while (!isWaiting()) await sleep(1);
  }

  stop(): void {
    this.#reload.stop();
  }
}

describe('reload of TLS files', { skip: missingTools('openssl'), timeout: 60_000 }, () => {
  let made: Certificates;
  let one: Certificate;
  let two: Certificate;
  before(() => {
    made = makeCertificates();
    one = made.sign('one', 'subjectAltName=IP:127.0.0.1');
    two = made.sign('two', 'subjectAltName=IP:127.0.0.1');
  });
  after(() => made?.remove());

  const pair = (directory: string): { certFile: string; keyFile: string } => ({
    certFile: join(directory, 'tls.crt'),
    keyFile: join(directory, 'tls.key'),
  });

  function write(directory: string, { cert, key }: Certificate): { certFile: string; keyFile: string } {
    const files = pair(directory);
    writeFileSync(files.certFile, cert);
    writeFileSync(files.keyFile, key);
    return files;
  }

  /** As the kubelet lays a secret out: `tls.crt` → `..data/tls.crt`, and `..data` → the directory of one version. */
  function publish(directory: string, version: string, certificate: Certificate): void {
    mkdirSync(join(directory, version));
    write(join(directory, version), certificate);
    symlinkSync(version, join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  }

  it('takes what a swap of a symbolic link in the way brings, once', async () => {
    const watched = new Watched((directory) => {
      publish(directory, '..1', one);
      for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(directory, name));
      return pair(directory);
    });
    await watched.look();
    await watched.look();
    assert.deepEqual([watched.changes, watched.logged], [[], []]);
    publish(watched.directory, '..2', two);
    await watched.look();
    await watched.look();
    assert.deepEqual(watched.changes, [{ cert: two.cert, key: two.key }]);
    assert.equal(watched.logged.length, 1);
    assert.equal(watched.logged[0]?.level, 'info');
    assert.match(String(watched.logged[0]?.fields?.['subject']), /CN=two/);
    watched.stop();
  });

  it('finds a change between the first reading and its own first look', async () => {
    const watched = new Watched((directory) => write(directory, one));
    write(watched.directory, two);
    await watched.look();
    assert.deepEqual(watched.changes, [{ cert: two.cert, key: two.key }]);
    watched.stop();
  });

  it('keeps what it has while new files don’t fit together, says so once, and takes them when they do', async () => {
    const watched = new Watched((directory) => write(directory, one));
    await watched.look();
    const { certFile, keyFile } = pair(watched.directory);
    writeFileSync(certFile, two.cert);
    for (let looks = 0; looks < 3; looks++) await watched.look();
    assert.deepEqual(watched.changes, []);
    assert.deepEqual(
      watched.logged.map(({ level }) => level),
      ['error'],
    );
    assert.match(
      String(watched.logged[0]?.fields?.['error']),
      /^--key-file: .* is not the key of --cert-file/,
    );
    writeFileSync(keyFile, two.key);
    await watched.look();
    assert.deepEqual(watched.changes, [{ cert: two.cert, key: two.key }]);
    watched.stop();
  });

  it('keeps what it has while a file is gone, cut short or nonsense', async () => {
    const watched = new Watched((directory) => write(directory, one));
    const { certFile } = pair(watched.directory);
    const breaks = [
      (): void => unlinkSync(certFile),
      (): void => writeFileSync(certFile, one.cert.subarray(0, 100)),
      (): void => writeFileSync(certFile, 'nonsense'),
      (): void => writeFileSync(certFile, ''),
    ];
    for (const breakIt of breaks) {
      breakIt();
      await watched.look();
    }
    write(watched.directory, one);
    await watched.look();
    assert.deepEqual(watched.changes, []);
    assert.ok(watched.logged.every(({ level }) => level === 'error'));
    watched.stop();
  });

  it('keeps a certificate that is valid while the new one has ended, says so once, and takes that when both have', async () => {
    const day = 86_400_000;
    const long = made.sign('long', 'subjectAltName=IP:127.0.0.1', 3);
    const watched = new Watched((directory) => write(directory, long), systemClock.wallMs() + 2 * day);
    write(watched.directory, one);
    for (let looks = 0; looks < 3; looks++) await watched.look();
    assert.deepEqual(watched.changes, []);
    assert.deepEqual(
      watched.logged.map(({ level }) => level),
      ['error'],
    );
    assert.match(String(watched.logged[0]?.fields?.['error']), /^--cert-file: .*tls\.crt has ended on /);
    await watched.look(2 * day);
    assert.deepEqual(watched.changes, [{ cert: one.cert, key: one.key }]);
    watched.stop();
  });

  it('takes a certificate when it begins to be valid, not before; one from the start that is not is told of', async () => {
    await sleep(2_100);
    const later = made.sign('later', 'subjectAltName=IP:127.0.0.1');
    const [validFromMs = 0, oneFromMs = 0] = [later, one].map(({ cert }) =>
      Date.parse(new X509Certificate(cert).validFrom),
    );
    const beginsMs = validFromMs - 1_500;
    assert.ok(oneFromMs <= beginsMs, 'one begins two seconds before');
    const watched = new Watched((directory) => write(directory, one), beginsMs);
    write(watched.directory, later);
    await watched.look();
    assert.deepEqual(watched.changes, []);
    assert.match(String(watched.logged[0]?.fields?.['error']), /^--cert-file: .* is valid only from /);
    await watched.look();
    assert.deepEqual(watched.changes, [{ cert: later.cert, key: later.key }]);
    watched.stop();
    const early = new Watched((directory) => write(directory, later), beginsMs - 3_600_000);
    assert.deepEqual(
      early.logged.map(({ level }) => level),
      ['warn'],
    );
    early.stop();
  });
});
