import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { asBuffer } from '../../shared/base/bytes.ts';
import { BoltReader, CorruptBoltError } from '../../shared/bolt/reader.ts';
import { DatabaseBucket } from '../../shared/etcd/database.ts';

/** The file can't be imported. The message is one line that names the file and the place. */
export class ImportFileError extends Error {
  override name = 'ImportFileError';
}

const DIGEST_BYTES = 32;
/** As etcd tells a file with a digest from one without: pages are multiples of this. */
const SECTOR_BYTES = 512;
const READ_BYTES = 1024 * 1024;
/** Pages that are read one by one stand near each other in an etcd database. */
const WINDOW_BYTES = 256 * 1024;

/**
 * An etcd database file: what `etcdctl snapshot save` wrote, with its SHA-256 at the end, or a server's own
 * `member/snap/db`, without. Opening it reads it whole, for its digest.
 */
export class DatabaseFile {
  readonly path: string;
  /** Of everything but the digest that the file may end with. */
  readonly sha256: Buffer;
  /** Whether the file ended with its digest, which then was right. */
  readonly hasDigest: boolean;
  /** Without the digest. */
  readonly bytes: number;
  readonly database: BoltReader;
  readonly #file: number;
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;

  /** Throws ImportFileError. */
  constructor(path: string) {
    this.path = path;
    this.#file = openFile(path);
    try {
      const { size } = fstatSync(this.#file);
      this.hasDigest = size % SECTOR_BYTES === DIGEST_BYTES;
      if (!this.hasDigest && size % SECTOR_BYTES !== 0) {
        throw new CorruptBoltError(
          `${size} bytes are no whole pages: the file is cut short, or no etcd database`,
        );
      }
      this.bytes = this.hasDigest ? size - DIGEST_BYTES : size;
      this.sha256 = this.#digest();
      if (this.hasDigest) this.#checkDigest();
      this.database = new BoltReader((offset, length) => this.#read(offset, length), this.bytes);
      if (!this.database.has(DatabaseBucket.Key)) {
        throw new CorruptBoltError('there is no bucket "key": a bbolt file, but not an etcd database');
      }
    } catch (error) {
      this.close();
      throw this.located(error);
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  /** `error` with this file's name, if it is about the file. */
  located(error: unknown): unknown {
    const isSystems = (error as NodeJS.ErrnoException).code !== undefined;
    if (!(error instanceof CorruptBoltError) && !isSystems) return error;
    return new ImportFileError(`${this.path}: ${(error as Error).message}`);
  }

  #digest(): Buffer {
    const hash = createHash('sha256');
    for (let offset = 0; offset < this.bytes; ) {
      const piece = this.#readFile(offset, Math.min(READ_BYTES, this.bytes - offset));
      if (piece.length === 0) throw new CorruptBoltError(`the file ends at byte ${offset} of ${this.bytes}`);
      hash.update(piece);
      offset += piece.length;
    }
    return hash.digest();
  }

  #checkDigest(): void {
    const stated = this.#readFile(this.bytes, DIGEST_BYTES);
    if (stated.equals(this.sha256)) return;
    const found = this.sha256.toString('hex');
    throw new CorruptBoltError(
      `the SHA-256 at its end is ${stated.toString('hex')}, its contents' is ${found}: the file is damaged`,
    );
  }

  /** Bytes that are the caller's own to keep, but not to change. */
  #read(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.bytes);
    if (end <= offset) return Buffer.alloc(0);
    if (end - offset > WINDOW_BYTES) return this.#readFile(offset, end - offset);
    const isInside = offset >= this.#windowStart && end <= this.#windowStart + this.#window.length;
    if (!isInside) {
      this.#window = this.#readFile(offset, Math.min(WINDOW_BYTES, this.bytes - offset));
      this.#windowStart = offset;
    }
    return this.#window.subarray(offset - this.#windowStart, end - this.#windowStart);
  }

  #readFile(offset: number, length: number): Buffer {
    const bytes = asBuffer(new Uint8Array(length));
    let read = 0;
    while (read < length) {
      const count = readSync(this.#file, bytes, read, length - read, offset + read);
      if (count === 0) break;
      read += count;
    }
    return bytes.subarray(0, read);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ImportFileError(`${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`);
  }
}
