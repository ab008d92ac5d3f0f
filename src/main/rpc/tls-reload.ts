import { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { validityTrouble } from '../../shared/base/certificates.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import {
  describeCertificate,
  rereadTlsFiles,
  type TlsFiles,
  type TlsMaterial,
  tlsFileVersions,
} from './tls-files.ts';

/** etcd reads its certificate at every handshake; we look so often whether a file is another one. */
const LOOK_EVERY_MS = 1_000;

export interface TlsReloadParts {
  readonly files: TlsFiles;
  /** What is in use. */
  readonly material: TlsMaterial;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of files that are whole and fit together; connections from then on are to use them. */
  readonly changed: (material: TlsMaterial) => void;
}

/**
 * Reads the TLS files again when they change. By looking, not by being told: a file system's notices say nothing of a
 * symbolic link's target in another directory, and none comes from a network file system. cert-manager and the
 * kubelet replace such a link (`..data`) by renaming; others write the certificate and then its key, so files that
 * don't fit together, or a certificate that is not valid now, are logged once, the ones before go on, and it looks again.
 */
export class TlsReload {
  readonly #parts: TlsReloadParts;
  #material: TlsMaterial;
  /** The versions of what was read last, well or not. */
  #seen: string | undefined;
  #failure: string | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: TlsReloadParts) {
    this.#parts = parts;
    this.#material = parts.material;
  }

  /** Begins, with reading once more: a change after the files' first reading is found too. */
  start(): void {
    const { files, material, clock, log } = this.#parts;
    const trouble = certificateTrouble(material, clock.wallMs());
    if (trouble !== undefined) log.warn(`--cert-file: ${files.certFile} ${trouble}`);
    this.#lookLater();
  }

  #lookLater(): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      void this.#look().then(() => this.#lookLater());
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { files } = this.#parts;
    // Before they are read: a change from here on is seen the next time.
    const versions = await tlsFileVersions(files);
    if (versions === this.#seen && this.#failure === undefined) return;
    this.#seen = versions;
    try {
      const material = await rereadTlsFiles(files);
      this.#checkValidity(material);
      this.#failure = undefined;
      if (!this.#stopped) this.#use(material);
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  /** A certificate that no client takes, now, does not replace one that they take. */
  #checkValidity(material: TlsMaterial): void {
    const { files, clock } = this.#parts;
    const now = clock.wallMs();
    const trouble = certificateTrouble(material, now);
    if (trouble !== undefined && certificateTrouble(this.#material, now) === undefined) {
      throw new Error(`--cert-file: ${files.certFile} ${trouble}`);
    }
  }

  #use(material: TlsMaterial): void {
    if (isDeepStrictEqual(material, this.#material)) return;
    const { changed, log } = this.#parts;
    changed(material);
    this.#material = material;
    log.info('TLS files were read again', describeCertificate(material));
  }

  #fail(message: string): void {
    if (message !== this.#failure) {
      this.#parts.log.error('TLS files have changed and can not be used; the ones before go on', {
        error: message,
      });
    }
    this.#failure = message;
  }
}

/** Why the server's certificate is not valid at this time (Unix, in milliseconds); undefined when it is. */
function certificateTrouble({ cert }: TlsMaterial, nowMs: number): string | undefined {
  return validityTrouble(new X509Certificate(cert), nowMs);
}
