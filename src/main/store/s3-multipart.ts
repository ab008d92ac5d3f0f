import { type RetryOptions, retryTransient } from './retry.ts';
import type { S3Client, S3Request } from './s3-client.ts';
import { replyError, replyXml, saysFailure } from './s3-errors.ts';
import type { S3Reply } from './s3-exchange.ts';
import { childText, escapeXml } from './s3-xml.ts';

/** S3 wants 5 MiB to 5 GiB of each part but the last, and at most 10,000 parts: so objects of up to 78 GiB. */
export const PART_BYTES = 8 * 1024 * 1024;

const NO_BYTES = new Uint8Array(0);

/** One multipart upload. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
export interface MultipartUpload {
  readonly client: S3Client;
  /** The bucket's key. */
  readonly key: string;
  /** For each part: a snapshot is not to be begun anew because one of its parts met a busy store. */
  readonly retry: RetryOptions;
  readonly signal: AbortSignal | undefined;
}

/**
 * Uploads `parts` as the object. S3 shows nothing of it until the upload is completed; when anything fails, the
 * upload is aborted, so that its parts are not kept (and paid for). Bodies smaller than one part are not for
 * this: see `gatherParts`.
 */
export async function uploadParts(upload: MultipartUpload, parts: AsyncIterable<Uint8Array>): Promise<void> {
  const uploadId = await createUpload(upload);
  try {
    const tags: string[] = [];
    for await (const part of parts) tags.push(await uploadPart(upload, uploadId, tags.length + 1, part));
    await completeUpload(upload, uploadId, tags);
  } catch (error) {
    await abortUpload(upload, uploadId);
    throw error;
  }
}

/** The same bytes in pieces of `PART_BYTES`, the last one smaller; at least one, which may be empty. */
export async function* gatherParts(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let part = new Uint8Array(PART_BYTES);
  let filled = 0;
  for await (const piece of pieces) {
    for (let taken = 0; taken < piece.length; ) {
      const length = Math.min(PART_BYTES - filled, piece.length - taken);
      part.set(piece.subarray(taken, taken + length), filled);
      taken += length;
      filled += length;
      if (filled === PART_BYTES) {
        yield part;
        part = new Uint8Array(PART_BYTES);
        filled = 0;
      }
    }
  }
  yield part.subarray(0, filled);
}

async function createUpload(upload: MultipartUpload): Promise<string> {
  const deed = `begin the upload of ${upload.key}`;
  const { written: headers } = upload.client.dialect;
  const reply = await send(upload, { method: 'POST', query: { uploads: '' }, headers, deed });
  const uploadId = childText(replyXml(reply, 'InitiateMultipartUploadResult', deed), 'UploadId');
  if (!uploadId) throw replyError(reply, deed);
  return uploadId;
}

async function uploadPart(
  upload: MultipartUpload,
  uploadId: string,
  partNumber: number,
  body: Uint8Array,
): Promise<string> {
  const deed = `upload part ${partNumber} of ${upload.key}`;
  const query = { partNumber: String(partNumber), uploadId };
  const reply = await send(upload, { method: 'PUT', query, body, deed });
  const tag = reply.header('etag');
  if (tag === undefined) throw replyError(reply, `${deed}: the reply has no ETag`);
  return tag;
}

/**
 * Not tried again: after an unknown outcome the upload may be gone because it was completed. S3 may also begin a
 * 200 before it knows how the completion ends, and then say in the body that it failed.
 */
async function completeUpload(
  upload: MultipartUpload,
  uploadId: string,
  tags: readonly string[],
): Promise<void> {
  const deed = `complete the upload of ${upload.key}`;
  const parts = tags.map(
    (tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${escapeXml(tag)}</ETag></Part>`,
  );
  const body = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`);
  const { client, key, signal } = upload;
  const reply = await client.send({ method: 'POST', key, query: { uploadId }, body, signal, deed });
  if (reply.status !== 200) throw replyError(reply, deed);
  replyXml(reply, 'CompleteMultipartUploadResult', deed);
}

/** The error that led here is the one to report, so this one's are dropped; S3's lifecycle rules clean up. */
async function abortUpload(upload: MultipartUpload, uploadId: string): Promise<void> {
  const { client, key } = upload;
  const deed = `abort the upload of ${key}`;
  await client.send({ method: 'DELETE', key, query: { uploadId }, deed }).catch(() => undefined);
}

function send(upload: MultipartUpload, request: Omit<S3Request, 'key' | 'signal'>): Promise<S3Reply> {
  const { client, key, retry, signal } = upload;
  return retryTransient(retry, signal, async () => {
    const reply = await client.send({ body: NO_BYTES, ...request, key, signal });
    if (reply.status !== 200 || saysFailure(reply)) throw replyError(reply, request.deed);
    return reply;
  });
}
