import { Reader, Writer } from './wire.ts';

/** etcd's alarms (etcdserverpb.AlarmMember and the messages around it), by hand for the writer's thread. */

/** etcdserverpb.AlarmType. Any other number may be raised too, and then only shows. */
export const AlarmType = { None: 0, NoSpace: 1, Corrupt: 2 } as const;

/** etcdserverpb.AlarmRequest.AlarmAction */
export const AlarmAction = { Get: 0, Activate: 1, Deactivate: 2 } as const;

export interface AlarmMember {
  /** uint64 */
  memberId: bigint;
  alarm: number;
}

export interface AlarmRequest extends AlarmMember {
  action: number;
}

/** The name that etcd's messages give a type; of one that etcd does not know, its number. */
export function alarmTypeName(alarm: number): string {
  return ['NONE', 'NOSPACE', 'CORRUPT'][alarm] ?? String(alarm);
}

/** The first part of the names under which raised alarms are kept. */
export const ALARM_PREFIX = 'alarm/';

/** The name of a raised alarm's entry; there is one per member and type. */
export function alarmName({ memberId, alarm }: AlarmMember): string {
  return `${ALARM_PREFIX}${alarm}/${memberId.toString(16).padStart(16, '0')}`;
}

/** Decodes an `AlarmRequest`. Throws `MalformedMessageError`. */
export function decodeAlarmRequest(bytes: Uint8Array): AlarmRequest {
  const reader = new Reader(bytes);
  const out: AlarmRequest = { action: 0, memberId: 0n, alarm: 0 };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.action = reader.int32();
    else if (tag === 16) out.memberId = BigInt.asUintN(64, reader.bigint64());
    else if (tag === 24) out.alarm = reader.int32();
    else reader.skip(tag);
  }
  return out;
}

/** Encodes an `AlarmMember`. */
export function encodeAlarmMember({ memberId, alarm }: AlarmMember): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  if (memberId !== 0n) {
    writer.varint(8);
    writer.bigint64(memberId);
  }
  if (alarm !== 0) {
    writer.varint(16);
    writer.int64(alarm);
  }
  return writer.finish();
}

/** Decodes an `AlarmMember`. Throws `MalformedMessageError`. */
export function decodeAlarmMember(bytes: Uint8Array): AlarmMember {
  const reader = new Reader(bytes);
  const out: AlarmMember = { memberId: 0n, alarm: 0 };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.memberId = BigInt.asUintN(64, reader.bigint64());
    else if (tag === 16) out.alarm = reader.int32();
    else reader.skip(tag);
  }
  return out;
}

/** An encoded `AlarmResponse`. */
export function encodeAlarmResponse(
  header: Uint8Array,
  alarms: readonly AlarmMember[],
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.varint(10);
  writer.delimited(header);
  for (const alarm of alarms) {
    writer.varint(18);
    writer.delimited(encodeAlarmMember(alarm));
  }
  return writer.finish();
}
