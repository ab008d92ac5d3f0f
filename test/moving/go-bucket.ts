import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { crc64 } from '../../src/shared/format/crc64.ts';
import { FileFooterSchema, FileHeaderSchema, RecordSchema } from '../format/gen/netsy_pb.ts';

export type GoRecord = Exclude<MessageInitShape<typeof RecordSchema>, { readonly $typeName: string }>;

export const COMPACTED_AT = create(TimestampSchema, { seconds: 1n });

/** Messages after their lengths. */
function delimited(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => {
      const length: number[] = [];
      let rest = message.length;
      for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) length.push((rest % 0x80) | 0x80);
      return [Buffer.from([...length, rest]), message];
    }),
  );
}

/** A file as Netsy for Go writes it, by generated code. */
export function goFile(kind: 1 | 2, records: readonly GoRecord[]): Buffer {
  const header = create(FileHeaderSchema, { kind, compression: 1, recordsCount: BigInt(records.length) });
  header.crc = crc64(toBinary(FileHeaderSchema, header));
  const unsealed = records.map((record) => create(RecordSchema, record));
  const recordsCrc = crc64(Buffer.concat(unsealed.map((record) => toBinary(RecordSchema, record))));
  for (const record of unsealed) record.crc = crc64(toBinary(RecordSchema, record));
  const revisions = unsealed.map(({ revision }) => revision);
  const footer = create(FileFooterSchema, {
    recordsCrc,
    firstRevision: revisions[0] ?? 0n,
    lastRevision: revisions[revisions.length - 1] ?? 0n,
  });
  footer.crc = crc64(toBinary(FileFooterSchema, footer));
  return delimited([
    toBinary(FileHeaderSchema, header),
    ...unsealed.map((record) => toBinary(RecordSchema, record)),
    toBinary(FileFooterSchema, footer),
  ]);
}

interface Key {
  readonly revision: bigint;
  readonly createRevision: bigint;
  readonly version: bigint;
}

/** A history as Netsy for Go keeps it: a record per revision, from 1 on. */
export class GoWriter {
  readonly records: GoRecord[] = [];
  readonly #keys = new Map<string, Key>();

  put(key: string, value: string, lease = 0n): this {
    const revision = BigInt(this.records.length + 1);
    const before = this.#keys.get(key);
    const createRevision = before?.createRevision ?? revision;
    const version = (before?.version ?? 0n) + 1n;
    this.#keys.set(key, { revision, createRevision, version });
    this.records.push({
      ...{ revision, createRevision, version, lease, created: before === undefined },
      ...{ prevRevision: before?.revision ?? 0n, key: Buffer.from(key), value: Buffer.from(value) },
    });
    return this;
  }

  delete(key: string): this {
    const revision = BigInt(this.records.length + 1);
    const { revision: prevRevision, createRevision } = this.#keys.get(key)!;
    this.#keys.delete(key);
    this.records.push({ revision, createRevision, prevRevision, deleted: true, key: Buffer.from(key) });
    return this;
  }

  /** What its compaction leaves of the records. */
  compacted(revision: number): GoRecord[] {
    return this.records.map((record, index) => {
      const isSuperseded = this.records.some(
        (later, at) => at > index && Buffer.from(later.key!).equals(Buffer.from(record.key!)),
      );
      if (index >= revision || !(isSuperseded || record.deleted === true)) return record;
      const { value: _, ...rest } = record;
      return { ...rest, compactedAt: COMPACTED_AT };
    });
  }
}

export function goChunkKey(revision: number): string {
  const [folder, name] = [revision % 10_000, revision].map(String);
  return `chunks/${folder!.padStart(4, '0')}/${name!.padStart(19, '0')}.netsy`;
}

export function goSnapshotKey(revision: number): string {
  return `snapshots/${String(revision).padStart(19, '0')}.netsy`;
}
