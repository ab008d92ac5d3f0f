import { resolve } from 'node:path';
import type { Given } from './check.ts';
import { FLAGS, type FlagKey, type FlagValues } from './flags.ts';
import { S3_FLAGS } from './s3-flags.ts';
import { type S3Settings, SettingsError } from './settings.ts';

/** What S3 flags say together; throws `SettingsError` where they don't fit. */
export function s3Of(values: FlagValues, given: Given): S3Settings {
  const isS3 = values.store?.startsWith('s3:') ?? false;
  const keys = Object.keys(S3_FLAGS) as FlagKey[];
  const stray = keys.find((key) => given.has(key));
  if (stray !== undefined && !isS3) {
    throw new SettingsError(
      `${label(stray, given)}: is for an S3 store; give --store s3://BUCKET/PREFIX or drop it`,
    );
  }
  const { s3RoleArn: arn, s3ExternalId: externalId, s3Sse: encryption, s3SseKmsKeyId: kmsKeyId } = values;
  if (externalId !== undefined && arn === undefined) {
    throw new SettingsError(
      `${label('s3ExternalId', given)}: needs --s3-role-arn, the role that asks for it`,
    );
  }
  if (kmsKeyId !== undefined && encryption === 'AES256') {
    throw new SettingsError(`${label('s3SseKmsKeyId', given)}: is for --s3-sse aws:kms, not AES256`);
  }
  return {
    endpoint: values.s3Endpoint,
    region: values.s3Region,
    addressing: values.s3Addressing === 'auto' ? undefined : values.s3Addressing,
    dialect: values.s3Dialect === 'auto' ? undefined : values.s3Dialect,
    caFile: values.s3CaFile === undefined ? undefined : resolve(values.s3CaFile),
    role: arn === undefined ? undefined : { arn, externalId },
    written: {
      encryption,
      kmsKeyId,
      bucketKey: values.s3BucketKey,
      storageClass: values.s3StorageClass,
    },
  };
}

function label(key: FlagKey, given: Given): string {
  return given.get(key) ?? `--${FLAGS[key].name}`;
}
