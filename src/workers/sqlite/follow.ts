import { assert } from '../../shared/base/assert.ts';
import { type LogRecord, Operation, type SystemChange, systemChange } from '../../shared/model/record.ts';
import { EventWriter } from '../contract/events.ts';
import type { FollowedState, LeaseChange } from '../contract/writer.ts';
import type { ChangeObserver } from './apply.ts';
import type { Connection } from './database.ts';
import { noOperations } from './operations.ts';

/**
 * What the chunks that a standby applies mean to its main thread: the events that its watchers get, which are those
 * of the primary, byte for byte, and what becomes of leases and of the server's own state.
 */
export class Followed {
  readonly leases: LeaseChange[] = [];
  readonly system: SystemChange[] = [];
  /** Of records: which operations they were of is not in the log. */
  readonly operations = noOperations();
  readonly #events = new EventWriter();
  readonly observe: ChangeObserver;

  constructor(connection: Connection) {
    const select = connection.prepare('SELECT kv FROM history WHERE id = ?').pluck();
    this.observe = (record, kv, previousId) => {
      switch (record.operation) {
        case Operation.KeyValue: {
          const previous = previousId === 0 ? undefined : (select.get(previousId) as Buffer | undefined);
          assert(
            previousId === 0 || previous !== undefined,
            'the state that a record replaces is in the history',
          );
          this.#events.add(record, kv, previous);
          this.#count(record);
          return;
        }
        case Operation.LeaseGrant:
          assert(record.leaseTtlSeconds !== undefined, 'a grant has a TTL');
          this.leases.push({ id: record.lease, ttlSeconds: record.leaseTtlSeconds });
          return;
        case Operation.LeaseRevoke:
          this.leases.push({ id: record.lease, ttlSeconds: 0 });
          return;
        case Operation.System:
          this.system.push(systemChange(record));
          return;
      }
    };
  }

  #count({ deleted, key, value }: LogRecord): void {
    if (deleted) this.operations.deletes++;
    else {
      this.operations.puts++;
      this.operations.putBytes += key.length + value.length;
    }
  }

  /** Not to be called twice. */
  finish(): Omit<FollowedState, 'position'> {
    const { leases, system, operations } = this;
    return { events: this.#events.finish(), leases, system, operations };
  }
}
