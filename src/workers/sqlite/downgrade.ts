import { asBuffer } from '../../shared/base/bytes.ts';
import {
  DOWNGRADE_NAME,
  DowngradeAction,
  decodeDowngradeRequest,
  type MajorMinor,
  parseVersion,
} from '../../shared/etcd/downgrade.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { SystemChange } from '../../shared/model/record.ts';
import { ETCD_CLUSTER_VERSION } from '../../shared/model/version.ts';

/**
 * etcd's Downgrade as one member answers it (server/etcdserver/version). Nothing but the versions that the server
 * says follows from it: our log and cache know no etcd version. etcd's cluster version follows within some seconds,
 * ours at once.
 */
export class Downgrades {
  readonly #system: ReadonlyMap<string, Uint8Array>;
  readonly #change: (change: SystemChange) => void;

  constructor(system: ReadonlyMap<string, Uint8Array>, change: (change: SystemChange) => void) {
    this.#system = system;
    this.#change = change;
  }

  /** Does what an encoded DowngradeRequest asks; answers the cluster version before it, such as `3.7`. */
  execute(bytes: Uint8Array): string {
    const { action, version } = decodeDowngradeRequest(bytes);
    const target = this.#system.get(DOWNGRADE_NAME);
    const current = parseVersion(target ? asBuffer(target).toString() : ETCD_CLUSTER_VERSION)!;
    if (action === DowngradeAction.Cancel) {
      if (target !== undefined) this.#change({ name: DOWNGRADE_NAME, value: undefined });
      return `${current.major}.${current.minor}`;
    }
    const wanted = this.#validate(version, current, target !== undefined);
    if (action === DowngradeAction.Enable) {
      this.#change({ name: DOWNGRADE_NAME, value: Buffer.from(`${wanted.major}.${wanted.minor}.0`) });
    }
    return `${current.major}.${current.minor}`;
  }

  #validate(version: string, current: MajorMinor, underWay: boolean): MajorMinor {
    const wanted = parseVersion(version);
    if (wanted === undefined) throw new EtcdError('WrongDowngradeVersionFormat');
    if (wanted.major !== current.major || wanted.minor !== current.minor - 1n) {
      throw new EtcdError('InvalidDowngradeTargetVersion');
    }
    if (underWay) throw new EtcdError('DowngradeInProcess');
    return wanted;
  }
}
