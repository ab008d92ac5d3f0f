import { flag, optional } from './flag.ts';
import { anyText, boolean, choice, endpointUrl, ValueError } from './values.ts';

/** How an S3 store is spoken to. What AWS's own variables and files say of it is taken from there. */
export const S3_FLAGS = {
  s3Endpoint: optional(
    'S3',
    's3-endpoint',
    '<url>',
    endpointUrl,
    'S3 server (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the shared config, then that of the AWS region)',
  ),
  s3Region: optional(
    'S3',
    's3-region',
    '<text>',
    anyText,
    'region (default: AWS_REGION, then the shared config)',
  ),
  s3Addressing: flag(
    'S3',
    's3-addressing',
    '<style>',
    choice('auto', 'path', 'virtual'),
    'where the bucket goes in a request: path, virtual (host name), or auto',
    'auto',
  ),
  s3Dialect: flag(
    'S3',
    's3-dialect',
    '<name>',
    choice('auto', 's3', 'gcs'),
    'how a create is made conditional: s3 (If-None-Match), gcs (x-goog-if-generation-match, with an HMAC key), or auto (by the host)',
    'auto',
  ),
  s3CaFile: optional(
    'S3',
    's3-ca-file',
    '<path>',
    anyText,
    'authorities (PEM) to trust beside the public ones (default: AWS_CA_BUNDLE, then the shared config)',
  ),
  s3RoleArn: optional(
    'S3',
    's3-role-arn',
    '<arn>',
    anyText,
    'role to take on (AssumeRole) with the credentials that are found',
  ),
  s3ExternalId: optional('S3', 's3-external-id', '<text>', anyText, 'external id that the role asks for'),
  s3Sse: optional(
    'S3',
    's3-sse',
    '<kind>',
    choice('AES256', 'aws:kms', 'aws:kms:dsse'),
    'encryption of objects at rest: AES256, aws:kms or aws:kms:dsse (default: the bucket’s)',
  ),
  s3SseKmsKeyId: optional(
    'S3',
    's3-sse-kms-key-id',
    '<id>',
    anyText,
    'KMS key for it, by id, ARN or alias; by itself it means aws:kms',
  ),
  s3BucketKey: optional(
    'S3',
    's3-bucket-key',
    '[true|false]',
    boolean,
    'whether KMS is asked once for many objects instead of for each (default: the bucket’s)',
  ),
  s3StorageClass: optional(
    'S3',
    's3-storage-class',
    '<name>',
    storageClass,
    'storage class of objects, such as STANDARD or STANDARD_IA (default: the store’s)',
  ),
};

/** These take hours to give an object back, and a start reads them all. */
const ARCHIVES = ['GLACIER', 'DEEP_ARCHIVE', 'ARCHIVE'];

function storageClass(text: string): string {
  if (ARCHIVES.includes(text)) {
    throw new ValueError(
      `"${text}" must be thawed before it can be read; use STANDARD, or another that is read at once`,
    );
  }
  if (!/^[A-Z][A-Z0-9_]*$/.test(text))
    throw new ValueError(`"${text}" is not a storage class; use e.g. STANDARD`);
  return text;
}
