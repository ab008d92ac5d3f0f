import { bytesInt64 } from '../../shared/base/bytes.ts';
import type { LeaseChange } from '../contract/writer.ts';
import type { Connection } from './database.ts';

/** The leases, and the entries of the server's own state in the order of their names. */
export function readBegunState(connection: Connection): {
  leases: LeaseChange[];
  system: { name: string; value: Buffer }[];
} {
  const leases = connection.prepare('SELECT id, ttl_seconds FROM leases').raw().all() as [Buffer, number][];
  const system = connection.prepare('SELECT name, value FROM system ORDER BY name').all();
  return {
    leases: leases.map(([id, ttlSeconds]) => ({ id: bytesInt64(id), ttlSeconds })),
    system: system as { name: string; value: Buffer }[],
  };
}
