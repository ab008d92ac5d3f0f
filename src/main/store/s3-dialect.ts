import type { S3Options, S3Target } from './s3-config.ts';
import type { Credentials } from './s3-credentials.ts';
import {
  remembering,
  type SignedRequest,
  signGoogleRequest,
  signRequest,
  type UnsignedRequest,
} from './s3-sign.ts';

export type DialectName = 's3' | 'gcs';

/** With what objects are written; what is undefined is the bucket's to say. */
export interface Written {
  /** `AES256`, `aws:kms` or `aws:kms:dsse`; with a key and without this: `aws:kms`. */
  readonly encryption?: string | undefined;
  readonly kmsKeyId?: string | undefined;
  readonly bucketKey?: boolean | undefined;
  readonly storageClass?: string | undefined;
}

type Headers = Readonly<Record<string, string>>;

/** In what the stores differ that speak S3. */
export interface Dialect {
  readonly name: DialectName;
  /** Headers that begin an object: of a PUT, and of a multipart upload's first request. */
  readonly written: Headers;
  /** The same, of a PUT that must not replace an object. */
  readonly createOnly: Headers;
  sign(request: UnsignedRequest, credentials: Credentials): SignedRequest;
}

const GOOGLE_HOST = /(?:^|\.)storage\.googleapis\.com(?::\d+)?$/i;
const TIGRIS_HOST = /(?:^|\.)(?:tigris\.dev|storage\.dev)(?::\d+)?$/i;

/** By the option, else by the endpoint's host. Throws an Error of one line when an option can't be used with it. */
export function dialectOf(target: S3Target, { dialect, written = {} }: S3Options): Dialect {
  const name = dialect ?? (GOOGLE_HOST.test(target.host) ? 'gcs' : 's3');
  return name === 'gcs' ? googleDialect(written) : s3Dialect(written, TIGRIS_HOST.test(target.host));
}

function s3Dialect({ encryption, kmsKeyId, bucketKey, storageClass }: Written, isTigris: boolean): Dialect {
  const written = present({
    'x-amz-server-side-encryption': encryption ?? (kmsKeyId === undefined ? undefined : 'aws:kms'),
    'x-amz-server-side-encryption-aws-kms-key-id': kmsKeyId,
    'x-amz-server-side-encryption-bucket-key-enabled': bucketKey?.toString(),
    'x-amz-storage-class': storageClass,
  });
  return {
    name: 's3',
    written,
    createOnly: { ...written, 'if-none-match': '*' },
    sign: remembering(isTigris ? signForTigris : signRequest),
  };
}

/** A global bucket of Tigris's is consistent, and checks conditions, only for requests that ask for it. */
function signForTigris(request: UnsignedRequest, credentials: Credentials): SignedRequest {
  return signRequest(
    { ...request, headers: { ...request.headers, 'x-tigris-consistent': 'true' } },
    credentials,
  );
}

/**
 * Google's takes `If-None-Match` with a read only, and ignores it with a write.
 * https://cloud.google.com/storage/docs/xml-api/reference-headers#xgoogifgenerationmatch
 */
function googleDialect({ encryption, kmsKeyId, bucketKey, storageClass }: Written): Dialect {
  if (encryption !== undefined || bucketKey !== undefined) {
    throw new Error(
      '--s3-sse and --s3-bucket-key are not for Google Cloud Storage, which always encrypts: name a key with --s3-sse-kms-key-id, or drop them',
    );
  }
  const written = present({
    'x-goog-encryption-kms-key-name': kmsKeyId,
    'x-goog-storage-class': storageClass,
  });
  return {
    name: 'gcs',
    written,
    createOnly: { ...written, 'x-goog-if-generation-match': '0' },
    sign: remembering(signGoogleRequest),
  };
}

function present(headers: Readonly<Record<string, string | undefined>>): Headers {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
