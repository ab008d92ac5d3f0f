import { EtcdClient } from '../support/etcd-client.ts';
import type { Moment } from './operations.ts';

/** One of the two servers, as a client sees it. */
export class Side {
  readonly name: 'netsy' | 'etcd';
  readonly client: EtcdClient;
  /** All lease ids that it has chosen, as decimal numbers. */
  readonly chosenLeases = new Set<string>();
  /** Those of this sequence. */
  recentlyChosen: bigint[] = [];
  readonly #endpoint: string;

  /** `endpoint` is `http://host:port`. */
  constructor(name: 'netsy' | 'etcd', endpoint: string) {
    this.name = name;
    this.#endpoint = endpoint;
    this.client = new EtcdClient(new URL(endpoint).host);
  }

  choose(lease: bigint): void {
    this.chosenLeases.add(String(lease));
    this.recentlyChosen.push(lease);
  }

  /** An id that no server chooses stands for the chosen lease while there is none. */
  moment(newestRevision: bigint, compactRevision: bigint): Moment {
    return { newestRevision, compactRevision, chosenLease: this.recentlyChosen.at(-1) ?? 1n << 50n };
  }

  /** How many watches still catch up, by the server's own metrics. */
  async watchesBehind(): Promise<number> {
    const metrics = await (await fetch(`${this.#endpoint}/metrics`)).text();
    const found = BEHIND[this.name].exec(metrics);
    if (found === null) throw new Error(`${this.name} has no metric ${BEHIND[this.name]}`);
    return Number(found[1]);
  }
}

const BEHIND = {
  netsy: /^netsy_watchers\{state="unsynced"\} (\d+)$/m,
  etcd: /^etcd_debugging_mvcc_slow_watcher_total (\d+)$/m,
};
