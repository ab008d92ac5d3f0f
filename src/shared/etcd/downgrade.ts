import { asBuffer } from '../base/bytes.ts';
import { Reader, Writer } from './wire.ts';

/** etcd's Downgrade messages, by hand for the writer's thread. */

/** etcdserverpb.DowngradeRequest.DowngradeAction */
export const DowngradeAction = { Validate: 0, Enable: 1, Cancel: 2 } as const;

export interface DowngradeRequest {
  action: number;
  version: string;
}

/** The name of the entry that holds the target of the downgrade under way, such as `3.6.0`. */
export const DOWNGRADE_NAME = 'cluster/downgrade';

/** Decodes a `DowngradeRequest`. Throws `MalformedMessageError`. */
export function decodeDowngradeRequest(bytes: Uint8Array): DowngradeRequest {
  const reader = new Reader(bytes);
  const out: DowngradeRequest = { action: 0, version: '' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.action = reader.int32();
    else if (tag === 18) out.version = asBuffer(reader.bytes()).toString();
    else reader.skip(tag);
  }
  return out;
}

/** An encoded `DowngradeResponse`. */
export function encodeDowngradeResponse(header: Uint8Array, version: string): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.varint(10);
  writer.delimited(header);
  writer.varint(18);
  writer.delimited(Buffer.from(version));
  return writer.finish();
}

export interface MajorMinor {
  major: bigint;
  minor: bigint;
}

const INT64_MAX = 2n ** 63n - 1n;
/** What coreos/go-semver takes: three numbers, a pre-release after `-`, metadata after `+`. */
const SEMVER = /^(\d+)\.(\d+)\.(\d+)(?:-[\w.-]*)?(?:\+[\w.-]*)?$/;

/** Reads `3.6`, `3.6.0` and the like as etcd does; undefined if it is no version. */
export function parseVersion(text: string): MajorMinor | undefined {
  const found = SEMVER.exec(text) ?? SEMVER.exec(`${text}.0`);
  const [major, minor, patch] = (found ?? []).slice(1).map(BigInt);
  if (major === undefined || minor === undefined || patch === undefined) return undefined;
  return [major, minor, patch].every((part) => part <= INT64_MAX) ? { major, minor } : undefined;
}
