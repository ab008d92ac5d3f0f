import {
  AlarmAction,
  type AlarmMember,
  AlarmType,
  decodeAlarmRequest,
  encodeAlarmResponse,
} from '../../shared/etcd/alarm.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { WriteCallback } from '../commit/batch.ts';
import type { ClusterState } from '../state/cluster-state.ts';
import type { Identity } from './identity.ts';
import type { Reply } from './service.ts';

export interface AlarmParts {
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): void;
  identity: Identity;
  cluster: ClusterState;
  /** Why the disk under the cache refuses writes; undefined when it does not. */
  diskTrouble(): string | undefined;
}

/** Maintenance's Alarm: what is raised is answered from here, changes are entries of the log. */
export function handleAlarm(parts: AlarmParts, request: Buffer, reply: Reply): void {
  const { action, alarm } = decodeAlarmRequest(request);
  if (action === AlarmAction.Activate || action === AlarmAction.Deactivate) {
    parts.submit(WriteKind.Alarm, request, reply);
    return;
  }
  // An action that etcd does not know ends its process; here it shows nothing.
  const alarms = action === AlarmAction.Get ? shownAlarms(parts, alarm) : [];
  reply(undefined, encodeAlarmResponse(parts.identity.header(), alarms));
}

/**
 * The raised alarms of a type, or all of them for `AlarmType.None`. While the disk under the cache is full, this
 * member's NOSPACE is among them: nobody raised it, and it ends by itself.
 */
export function shownAlarms(
  { cluster, identity, diskTrouble }: Omit<AlarmParts, 'submit'>,
  type: number = AlarmType.None,
): AlarmMember[] {
  const raised = cluster.alarms(type);
  const memberId = BigInt.asUintN(64, identity.memberId);
  const ours = (one: AlarmMember): boolean => one.memberId === memberId && one.alarm === AlarmType.NoSpace;
  const wanted = type === AlarmType.None || type === AlarmType.NoSpace;
  if (!wanted || diskTrouble() === undefined || raised.some(ours)) return raised;
  return [...raised, { memberId, alarm: AlarmType.NoSpace }];
}
