/** A file in memory, as the bbolt writer fills it and the reader reads it. */
export class MemoryFile {
  bytes: Buffer = Buffer.alloc(0);
  /** What `bytes` is the beginning of. */
  #room: Buffer = this.bytes;

  readonly write = (offset: number, pages: Uint8Array): void => {
    const end = Math.max(offset + pages.length, this.bytes.length);
    if (end > this.#room.length) {
      this.#room = Buffer.alloc(end * 2);
      this.bytes.copy(this.#room);
    }
    this.bytes = this.#room.subarray(0, end);
    this.bytes.set(pages, offset);
  };

  readonly read = (offset: number, length: number): Uint8Array =>
    this.bytes.subarray(offset, Math.min(offset + length, this.bytes.length));

  copy(): MemoryFile {
    const file = new MemoryFile();
    file.bytes = Buffer.from(this.bytes);
    return file;
  }
}
