import { StoreError } from './errors.ts';
import { compareKeys } from './keys.ts';
import type { S3Client } from './s3-client.ts';
import { replyError, replyXml } from './s3-errors.ts';
import { childText, type XmlElement } from './s3-xml.ts';
import type { ObjectInfo } from './store.ts';

interface Page {
  readonly objects: readonly ObjectInfo[];
  readonly isLast: boolean;
  readonly continuationToken: string | undefined;
}

/**
 * All objects of the bucket with `prefix`, after the key `startAfter`; keys are the bucket's. The safety of the
 * log rests on the order of lists, so a store that does not keep it is refused ('unsupported').
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
 */
export async function* listObjects(
  client: S3Client,
  prefix: string,
  startAfter: string | undefined,
): AsyncIterable<ObjectInfo> {
  let last = startAfter;
  let position = startAfter === undefined ? {} : { 'start-after': startAfter };
  for (;;) {
    const page = await fetchPage(client, prefix, position);
    for (const object of page.objects) {
      if (last !== undefined && compareKeys(object.key, last) <= 0) throw outOfOrder(last, object.key);
      last = object.key;
      yield object;
    }
    if (page.isLast) return;
    position = nextPosition(page, last);
  }
}

function nextPosition(page: Page, last: string | undefined): Record<string, string> {
  if (page.continuationToken !== undefined) return { 'continuation-token': page.continuationToken };
  if (last === undefined || page.objects.length === 0) throw badList('it is cut off without saying where');
  return { 'start-after': last };
}

async function fetchPage(client: S3Client, prefix: string, position: Record<string, string>): Promise<Page> {
  const deed = `list ${prefix}`;
  const query = { 'list-type': '2', 'encoding-type': 'url', prefix, ...position };
  const reply = await client.send({ method: 'GET', query, deed });
  if (reply.status !== 200) throw replyError(reply, deed);
  return parsePage(replyXml(reply, 'ListBucketResult', deed));
}

function parsePage(result: XmlElement): Page {
  const isEncoded = childText(result, 'EncodingType') === 'url';
  const contents = result.children.filter((child) => child.name === 'Contents');
  return {
    objects: contents.map((element) => parseObject(element, isEncoded)),
    isLast: childText(result, 'IsTruncated') !== 'true',
    continuationToken: childText(result, 'NextContinuationToken') || undefined,
  };
}

function parseObject(element: XmlElement, isEncoded: boolean): ObjectInfo {
  const key = childText(element, 'Key');
  const size = Number(childText(element, 'Size') ?? Number.NaN);
  const modifiedMs = Date.parse(childText(element, 'LastModified') ?? '');
  if (key === undefined || !Number.isSafeInteger(size) || Number.isNaN(modifiedMs)) {
    throw badList('an entry lacks its key, size or time');
  }
  return { key: isEncoded ? decodeKey(key) : key, size, modifiedMs };
}

/** With encoding-type=url a space is '+', as in a form. */
function decodeKey(encoded: string): string {
  try {
    return decodeURIComponent(encoded.replace(/\+/g, ' '));
  } catch {
    throw badList(`the key '${encoded.slice(0, 100)}' is not well encoded`);
  }
}

function badList(why: string): StoreError {
  return new StoreError('fatal', `the store's list cannot be understood: ${why}`);
}

function outOfOrder(last: string, key: string): StoreError {
  return new StoreError(
    'unsupported',
    `the store lists '${key}' after '${last}': netsy needs lists in the order of the keys' UTF-8 bytes, as S3's general purpose buckets give them`,
  );
}
