import {
  ALARM_PREFIX,
  AlarmAction,
  type AlarmMember,
  AlarmType,
  alarmName,
  decodeAlarmMember,
  decodeAlarmRequest,
  encodeAlarmMember,
} from '../../shared/etcd/alarm.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { PutRequest, RequestOp, TxnRequest } from '../../shared/etcd/requests.ts';
import type { SystemChange } from '../../shared/model/record.ts';

/** What etcd reckons for a lease, and for a key besides its bytes (server/storage/quota.go). */
export const LEASE_COST = 64;
const KEY_COST = 256;

/** What a put adds to the database, by etcd's reckoning. */
export function costOfPut({ key, value }: PutRequest): number {
  return KEY_COST + key.length + value.length;
}

/** The same of the dearer branch of a transaction; 0 if it puts nothing. */
export function costOfTxn({ success, failure }: TxnRequest): number {
  return Math.max(costOfOps(success), costOfOps(failure));
}

function costOfOps(operations: readonly RequestOp[]): number {
  let cost = 0;
  for (const op of operations) {
    if (op.kind === 'put') cost += costOfPut(op.put);
    else if (op.kind === 'txn') cost += costOfTxn(op.txn);
  }
  return cost;
}

export interface AlarmsParts {
  /** The server's own state, which raised alarms are entries of. */
  system: ReadonlyMap<string, Uint8Array>;
  /** Logs a change of it. */
  change(change: SystemChange): void;
  /** Who raises NOSPACE when the quota is used up. */
  memberId: bigint;
  /** 0: none. */
  quotaBytes: number;
  /** What the database takes now. */
  usedBytes(): number;
}

/**
 * The raised alarms, and what they and the quota refuse, as in etcd: a request over the quota raises NOSPACE and is
 * refused before it is looked at (v3rpc/quota.go); a raised alarm refuses what was found well-formed
 * (apply/capped.go, corrupt.go).
 */
export class Alarms {
  /** True when a request has to be shown to `admit`. */
  readonly hasQuota: boolean;
  readonly #parts: AlarmsParts;
  #noSpace = false;
  #corrupt = false;
  /** By the last look at the database, and by what was admitted since. */
  #usedBytes = 0;

  constructor(parts: AlarmsParts) {
    this.#parts = parts;
    this.hasQuota = parts.quotaBytes > 0;
    this.#look();
  }

  /** A batch begins. */
  begin(): void {
    if (this.hasQuota) this.#usedBytes = this.#parts.usedBytes();
  }

  /** Raises NOSPACE and throws NoSpace if the quota has no room for `cost` bytes. */
  admit(cost: number): void {
    if (cost === 0 || !this.hasQuota) return;
    if (this.#usedBytes + cost >= this.#parts.quotaBytes) {
      this.#activate({ memberId: BigInt.asUintN(64, this.#parts.memberId), alarm: AlarmType.NoSpace });
      throw new EtcdError('NoSpace');
    }
    this.#usedBytes += cost;
  }

  /** Throws Corrupt while that is raised: nothing may be written. */
  checkWrite(): void {
    if (this.#corrupt) throw new EtcdError('Corrupt');
  }

  /** Throws Corrupt, or NoSpace while that is raised: nothing may be added. */
  checkAddition(): void {
    this.checkWrite();
    if (this.#noSpace) throw new EtcdError('NoSpace');
  }

  /** The same for a transaction, which may add nothing. */
  checkTxn(request: TxnRequest): void {
    this.checkWrite();
    if (this.#noSpace && costOfTxn(request) > 0) throw new EtcdError('NoSpace');
  }

  /** Does what an encoded AlarmRequest asks; answers the alarms to show. */
  execute(bytes: Uint8Array): AlarmMember[] {
    const { action, memberId, alarm } = decodeAlarmRequest(bytes);
    const member = { memberId, alarm };
    if (action === AlarmAction.Activate && alarm !== AlarmType.None) {
      this.#activate(member);
      return [member];
    }
    if (action === AlarmAction.Deactivate && this.#parts.system.has(alarmName(member))) {
      this.#parts.change({ name: alarmName(member), value: undefined });
      this.#look();
      return [member];
    }
    return [];
  }

  #activate(member: AlarmMember): void {
    const name = alarmName(member);
    if (this.#parts.system.has(name)) return;
    this.#parts.change({ name, value: encodeAlarmMember(member) });
    this.#look();
  }

  #look(): void {
    const types = new Set<number>();
    for (const [name, value] of this.#parts.system) {
      if (name.startsWith(ALARM_PREFIX)) types.add(decodeAlarmMember(value).alarm);
    }
    this.#noSpace = types.has(AlarmType.NoSpace);
    this.#corrupt = types.has(AlarmType.Corrupt);
  }
}
