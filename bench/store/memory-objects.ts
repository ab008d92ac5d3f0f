import { createHash } from 'node:crypto';

/** One object; `etag` is quoted, as S3 sends it. */
export interface StoredObject {
  readonly body: Uint8Array;
  readonly etag: string;
  readonly modified: Date;
}

/** One page of a listing, in the byte order of the keys. */
export interface ListPage {
  readonly keys: readonly string[];
  readonly truncated: boolean;
}

/** What a conditional or multipart request may run into; the value is S3's own error code. */
export class ObjectError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const preconditionFailed = (): ObjectError =>
  new ObjectError(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');

function entityTag(body: Uint8Array): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

/**
 * The objects of one bucket in memory. Keys are "byte strings": each character is one byte of the
 * key's UTF-8, so that comparing them gives the order that S3 lists in.
 * Invariant: `sorted` is either undefined or exactly the keys of `objects` in order.
 */
export class MemoryObjects {
  private readonly objects = new Map<string, StoredObject>();
  private readonly uploads = new Map<string, { key: string; parts: Map<number, StoredObject> }>();
  private sorted: string[] | undefined;
  private uploadCount = 0;

  get(key: string): StoredObject | undefined {
    return this.objects.get(key);
  }

  /** Throws 412 when `ifNoneMatch` is `*` and the key exists, or `ifMatch` is not its tag. */
  put(key: string, body: Uint8Array, ifNoneMatch?: string, ifMatch?: string): StoredObject {
    const present = this.objects.get(key);
    if (ifNoneMatch === '*' && present) throw preconditionFailed();
    if (ifMatch !== undefined && present?.etag !== ifMatch) throw preconditionFailed();
    const object = { body, etag: entityTag(body), modified: new Date() };
    this.objects.set(key, object);
    if (!present) this.sorted = undefined;
    return object;
  }

  delete(key: string): void {
    if (this.objects.delete(key)) this.sorted = undefined;
  }

  /** Keys with `prefix` that are greater than `after`, at most `limit`. */
  list(prefix: string, after: string, limit: number): ListPage {
    this.sorted ??= [...this.objects.keys()].sort((a, b) => (a < b ? -1 : 1));
    const sorted = this.sorted;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const key = sorted[middle]!;
      if (key <= after || key < prefix) low = middle + 1;
      else high = middle;
    }
    const keys: string[] = [];
    for (; low < sorted.length && sorted[low]!.startsWith(prefix); low++) {
      if (keys.length === limit) return { keys, truncated: true };
      keys.push(sorted[low]!);
    }
    return { keys, truncated: false };
  }

  startUpload(key: string): string {
    const id = `upload-${++this.uploadCount}`;
    this.uploads.set(id, { key, parts: new Map() });
    return id;
  }

  putPart(id: string, number: number, body: Uint8Array): StoredObject {
    const part = { body, etag: entityTag(body), modified: new Date() };
    this.upload(id).parts.set(number, part);
    return part;
  }

  /** Joins the parts in the order given. Throws 400 when one is missing or its tag differs. */
  completeUpload(
    id: string,
    wanted: readonly { number: number; etag: string }[],
    ifNoneMatch?: string,
  ): StoredObject {
    const upload = this.upload(id);
    const bodies = wanted.map(({ number, etag }) => {
      const part = upload.parts.get(number);
      if (part?.etag !== etag) throw new ObjectError(400, 'InvalidPart', `Part ${number} was not found`);
      return part.body;
    });
    const object = this.put(upload.key, Buffer.concat(bodies), ifNoneMatch);
    this.uploads.delete(id);
    return object;
  }

  abortUpload(id: string): void {
    this.upload(id);
    this.uploads.delete(id);
  }

  private upload(id: string): { key: string; parts: Map<number, StoredObject> } {
    const upload = this.uploads.get(id);
    if (!upload) throw new ObjectError(404, 'NoSuchUpload', 'The specified upload does not exist');
    return upload;
  }
}
