import { asBuffer } from '../../shared/base/bytes.ts';
import type { Log } from '../../shared/base/log.ts';
import {
  ALARM_PREFIX,
  type AlarmMember,
  AlarmType,
  alarmTypeName,
  decodeAlarmMember,
} from '../../shared/etcd/alarm.ts';
import { DOWNGRADE_NAME } from '../../shared/etcd/downgrade.ts';
import { ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION } from '../../shared/model/version.ts';
import type { SystemState } from './system-state.ts';

/** The raised alarms and the downgrade under way, as far as they are durable. */
export class ClusterState {
  readonly #alarms = new Map<string, AlarmMember>();
  #downgradeTarget: string | undefined;

  /** Alarms are told to the log: each that is raised, or still is at a start, and its end. */
  constructor(system: SystemState, log: Log) {
    system.follow(ALARM_PREFIX, ({ name, value }) => {
      const before = this.#alarms.get(name);
      const now = value && decodeAlarmMember(value);
      if (now === undefined) this.#alarms.delete(name);
      else this.#alarms.set(name, now);
      if (now !== undefined) log.warn('alarm raised', fieldsOf(now));
      if (before !== undefined && now === undefined) log.info('alarm disarmed', fieldsOf(before));
    });
    system.follow(DOWNGRADE_NAME, ({ value }) => {
      this.#downgradeTarget = value && asBuffer(value).toString();
    });
  }

  /** The raised alarms of a type, or all of them for `AlarmType.None`. */
  alarms(type: number = AlarmType.None): AlarmMember[] {
    const all = [...this.#alarms].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, member]) => member);
    return type === AlarmType.None ? all : all.filter(({ alarm }) => alarm === type);
  }

  /** The target version of the downgrade under way, such as `3.6.0`. */
  get downgradeTarget(): string | undefined {
    return this.#downgradeTarget;
  }

  get clusterVersion(): string {
    return this.#downgradeTarget ?? ETCD_CLUSTER_VERSION;
  }

  get storageVersion(): string {
    return this.#downgradeTarget ?? ETCD_STORAGE_VERSION;
  }
}

function fieldsOf({ alarm, memberId }: AlarmMember): { alarm: string; member: string } {
  return { alarm: alarmTypeName(alarm), member: memberId.toString(16) };
}
