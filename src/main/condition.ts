import { AlarmType, alarmTypeName } from '../shared/etcd/alarm.ts';
import { EtcdError } from '../shared/etcd/errors.ts';
import type { Engine } from './engine.ts';
import type { HealthQuestion, HttpParts } from './ops/http.ts';
import type { Member } from './rpc/cluster.ts';
import type { Appender } from './store/append.ts';

/** An upload that has been under way for longer means that the store is away. */
const UNHEALTHY_AFTER_MS = 5_000;

export interface ConditionParts {
  /** Undefined until recovery is over. */
  engine(): Engine | undefined;
  /** The primary that this process is the standby of. */
  primary(): Member | undefined;
  readonly appender: Pick<Appender, 'trouble'>;
  /** Why the store fails whatever is no upload; undefined while it does not. */
  storeTrouble(): string | undefined;
}

/** What a server can do now, and if it can't, why not, in a line for people: what probes and pages say. */
export class Condition {
  readonly #parts: ConditionParts;

  constructor(parts: ConditionParts) {
    this.#parts = parts;
  }

  /** Why this server can't take writes now; undefined when it can. */
  unhealthyReason(): string | undefined {
    const engine = this.#parts.engine();
    if (engine === undefined) return 'netsy is recovering';
    if (engine.leadership === 'standby') return this.#standbyReason();
    const { trouble } = this.#parts.appender;
    if (trouble !== undefined) return `store is failing: ${trouble.error.message}`;
    if (engine.pipeline.oldestMs > UNHEALTHY_AFTER_MS) return this.#withTrouble('store is not answering');
    if (engine.leadership === 'lapsed') return this.#withTrouble('the lease in the store is not renewed');
    return engine.diskTrouble === undefined ? undefined : `cache disk: ${engine.diskTrouble}`;
  }

  /** Why `/health` is false; undefined when it is true. */
  healthReason({ serializable, excluded }: HealthQuestion): string | undefined {
    const alarm = this.#alarm(excluded);
    if (alarm !== undefined) return alarm;
    if (serializable) return this.#recoveringReason();
    const trouble = this.#parts.engine()?.diskTrouble;
    if (trouble !== undefined && !excluded.has('NOSPACE')) return 'ALARM NOSPACE';
    return this.unhealthyReason();
  }

  /** etcd's checks, by its names. */
  checks(): HttpParts['checks'] {
    return {
      data_corruption: async () => {
        const alarms = this.#parts.engine()?.cluster.alarms(AlarmType.Corrupt) ?? [];
        return alarms.length > 0 ? 'alarm activated: CORRUPT' : undefined;
      },
      serializable_read: async () => this.#recoveringReason(),
      linearizable_read: async () => this.unhealthyReason(),
      non_learner: async () => undefined,
    };
  }

  /** A reason, and what the store says to it. */
  #withTrouble(reason: string): string {
    const trouble = this.#parts.storeTrouble();
    return trouble === undefined ? reason : `${reason}: ${trouble}`;
  }

  #recoveringReason(): string | undefined {
    return this.#parts.engine() === undefined ? 'netsy is recovering' : undefined;
  }

  /** A raised alarm that `/health` does not overlook, in its words. */
  #alarm(excluded: ReadonlySet<string>): string | undefined {
    const names = (this.#parts.engine()?.cluster.alarms() ?? []).map(({ alarm }) => alarmTypeName(alarm));
    const name = names.find((one) => !excluded.has(one));
    if (name === undefined) return undefined;
    return name === 'NOSPACE' || name === 'CORRUPT' ? `ALARM ${name}` : 'ALARM UNKNOWN';
  }

  #standbyReason(): string {
    const primary = this.#parts.primary();
    const { message } = new EtcdError('NoLeader');
    if (primary === undefined)
      return this.#withTrouble(`${message} (this is a standby, and no primary is seen)`);
    return `${message} here (this is a standby; the primary is at ${primary.clientUrls.join(', ')})`;
  }
}
