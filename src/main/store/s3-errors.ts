import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import { StoreError, type StoreErrorKind } from './errors.ts';
import type { S3Reply } from './s3-exchange.ts';
import { childText, parseXml, type XmlElement } from './s3-xml.ts';

/** S3's code and message, as far as the reply has them. */
export interface S3Problem {
  readonly code: string | undefined;
  readonly message: string | undefined;
  /** The store's time, where it complains of ours. */
  readonly serverTime?: string | undefined;
}

const MESSAGE_LENGTH_MAX = 300;

/**
 * What S3's codes mean where the status alone would mislead.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
const KINDS: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchBucket: 'no-bucket',
  NoSuchUpload: 'transient',
  RequestTimeout: 'transient',
  IncompleteBody: 'transient',
  BadDigest: 'transient',
  XAmzContentSHA256Mismatch: 'transient',
  InvalidDigest: 'transient',
  TemporaryRedirect: 'transient',
  ConditionalRequestConflict: 'transient',
  OperationAborted: 'transient',
  SlowDown: 'transient',
  // KMS's, with status 400: it can't give out data keys so fast, or has trouble of its own.
  Throttling: 'transient',
  ThrottlingException: 'transient',
  'KMS.ThrottlingException': 'transient',
  'KMS.InternalException': 'transient',
  'KMS.KMSInternalException': 'transient',
  'KMS.DependencyTimeoutException': 'transient',
  ExpiredToken: 'denied',
  InvalidToken: 'denied',
  InvalidAccessKeyId: 'denied',
  TokenRefreshRequired: 'denied',
  // versitygw's, with status 404, for an unknown access key.
  XAdminUserNotFound: 'denied',
  NotImplemented: 'unsupported',
};

/** An error or a page is short; an object of netsy's that is longer is not looked at. */
const SAID_BYTES_MAX = 64 * 1024;

/**
 * Whether a reply of success says in its body that it is none: S3's `Error`, or a page of something in between. Nothing
 * that netsy stores begins so.
 */
export function saysFailure(reply: S3Reply): boolean {
  if (reply.body.length > SAID_BYTES_MAX || !/^[\s\ufeff]*</.test(textOf(reply))) return false;
  return /^[\s\ufeff]*<(?:!doctype\s+)?html\b/i.test(textOf(reply)) || problemOf(reply).code !== undefined;
}

/** Reads the code and message of an error reply. */
export function problemOf(reply: S3Reply): S3Problem {
  try {
    const error = parseXml(textOf(reply));
    const code = childText(error, 'Code');
    const message = childText(error, 'Message');
    return {
      code: code?.slice(0, 64),
      message: message?.replace(/\s+/g, ' ').slice(0, MESSAGE_LENGTH_MAX),
      serverTime: childText(error, 'ServerTime'),
    };
  } catch {
    return { code: undefined, message: undefined };
  }
}

/**
 * The XML element of a successful reply. One that is something else broke off or came from something in between,
 * so it is worth another try: 'transient'.
 */
export function replyXml(reply: S3Reply, name: string, deed: string): XmlElement {
  let element: XmlElement | undefined;
  try {
    element = parseXml(textOf(reply));
  } catch (error) {
    throw new StoreError('transient', `cannot ${deed}: the reply is not XML`, { cause: error });
  }
  if (element.name === name) return element;
  const { code, message } = problemOf(reply);
  const said = [code, message].filter((part) => part !== undefined).join(': ');
  throw new StoreError('transient', `cannot ${deed}: the reply is ${element.name} ${said}`.trimEnd(), {
    code,
  });
}

function textOf(reply: S3Reply): string {
  return Buffer.from(reply.body).toString('utf8');
}

/** The error for a reply that is not success. `deed` completes "cannot …". */
export function replyError(reply: S3Reply, deed: string): StoreError {
  const { code, message } = problemOf(reply);
  const kind = kindOfCode(code) ?? kindOfStatus(reply.status);
  const said = [code, message].filter((part) => part !== undefined).join(': ');
  const status = `HTTP ${reply.status}`;
  return new StoreError(
    kind,
    `cannot ${deed}: ${said === '' ? status : `${said} (${status})`}${hint(reply)}`,
    {
      status: reply.status,
      code,
      retryAfterMs: retryAfterMs(reply),
    },
  );
}

function kindOfCode(code: string | undefined): StoreErrorKind | undefined {
  if (code === undefined) return undefined;
  // A key that is disabled or gone is an operator's to mend, as permissions are.
  return KINDS[code] ?? (code.startsWith('KMS.') ? 'denied' : undefined);
}

function kindOfStatus(status: number): StoreErrorKind {
  // A success that does not look like one came from something in between.
  if (status < 300) return 'transient';
  if (status === 501) return 'unsupported';
  if (status >= 500 || status === 408 || status === 409 || status === 425 || status === 429)
    return 'transient';
  if (status === 401 || status === 403) return 'denied';
  if (status === 404) return 'no-bucket';
  return 'fatal';
}

/** A bucket in another region answers with where it is; a success with a page, or of a write without a tag, is no S3's. */
function hint(reply: S3Reply): string {
  if (reply.status < 300 && problemOf(reply).code === undefined)
    return ', and not as S3 says it: is a proxy or another server in between?';
  const region = reply.header('x-amz-bucket-region');
  if ((reply.status !== 301 && reply.status !== 400) || region === undefined) return '';
  return `; the bucket is in region ${region}: set AWS_REGION to it`;
}

function retryAfterMs(reply: S3Reply): number | undefined {
  const seconds = Number(reply.header('retry-after') ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 60) * 1000 : undefined;
}

/** The error for a request that got no whole reply: whether it had an effect is unknown. */
export function connectionError(error: unknown, deed: string, url: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = errorCode(error);
  const why = errorMessage(error);
  return new StoreError('transient', `cannot ${deed}: no answer from ${url}: ${why}`, { code, cause: error });
}
