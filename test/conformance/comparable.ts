import assert from 'node:assert/strict';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';

/**
 * The differences between the two servers that are meant, all of them:
 *
 * 1. Who answers: ids of cluster and member, and the raft term.
 * 2. Status: the raft indices and the sizes of the database and its quota. Its leader must be the member itself.
 * 3. The seconds that a lease has left pass while the test runs. They must not be more than were granted.
 * 4. The order of a lease's keys in LeaseTimeToLive: random in etcd.
 * 5. Ids of leases that the server chooses: each side's own, the same wherever they come up.
 * 6. Where a RangeStream is cut: what its pieces come to is compared, and that only the last has a header.
 * 7. Between watches of one stream there is no order (random in etcd); within one there is.
 * 8. HashKV at the very revision of a compaction is not asked for: until it restarts, etcd remembers what the compaction
 *    hashed before it removed anything. Nor once a lease whose id the server chose may be in it.
 * 9. When progress is reported unasked (progress_notify), and whether a progress request that comes while a watch
 *    catches up is answered: etcd drops it, netsy answers when it has caught up. Never is progress ahead of an event.
 * 10. How many revisions one response has of a watch that etcd sends one revision at a time: netsy joins the events of a
 *    watch that wait for its stream. Never is something split that etcd sends at once.
 *
 * And two transactions that end etcd's process are not sent. Both delete "from a key on" (range_end is one zero byte) and
 * then put a key behind it, which etcd does not take for a duplicate key:
 * - with ignore_value or ignore_lease it takes the error, that there is no key, for its own (`generate.ts`);
 * - a compaction at the revision of such a transaction loses the key, and the next read of it fails (`differential.ts`).
 */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  ...['clusterId', 'memberId', 'raftTerm'],
  ...['raftIndex', 'raftAppliedIndex', 'dbSize', 'dbSizeInUse', 'dbSizeQuota'],
]);
const LEASE_FIELDS: ReadonlySet<string> = new Set(['ID', 'lease']);
const BYTES_FIELDS: ReadonlySet<string> = new Set(['key', 'value']);

interface Times {
  TTL?: string;
  grantedTTL?: string;
  keys?: string[];
}

/** A message as plain JSON without what is the server's own. `chosen` are the lease ids that this server chose. */
export function comparable<S extends DescMessage>(
  schema: S,
  message: MessageShape<S>,
  chosen: ReadonlySet<string>,
): unknown {
  const json = toJson(schema, message, { alwaysEmitImplicit: true });
  const answer = withoutOwn(json, chosen) as Times;
  if (answer.keys !== undefined) answer.keys = answer.keys.map(fromBase64).sort();
  if (answer.grantedTTL !== undefined && Number(answer.TTL) > 0) {
    assert.ok(Number(answer.TTL) <= Number(answer.grantedTTL), 'a lease has more time left than was granted');
    answer.TTL = 'some';
  }
  return answer;
}

function withoutOwn(json: unknown, chosen: ReadonlySet<string>): unknown {
  if (Array.isArray(json)) return json.map((one) => withoutOwn(one, chosen));
  if (typeof json !== 'object' || json === null) return json;
  const kept: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(json)) {
    if (OWN_FIELDS.has(name)) continue;
    kept[name] = ownName(name, field, chosen) ?? withoutOwn(field, chosen);
  }
  if ('leader' in json) kept['leader'] = isItself(json) ? 'itself' : json.leader;
  return kept;
}

/** What stands in an answer for a field whose bytes are text, or whose number is one that the server chose. */
function ownName(name: string, field: unknown, chosen: ReadonlySet<string>): string | undefined {
  if (typeof field !== 'string') return undefined;
  if (BYTES_FIELDS.has(name)) return fromBase64(field);
  return LEASE_FIELDS.has(name) && chosen.has(field) ? 'chosen' : undefined;
}

function isItself(status: object): boolean {
  const { leader, header } = status as { leader?: string; header?: { memberId?: string } };
  return leader === header?.memberId && leader !== '0';
}

function fromBase64(text: string): string {
  return Buffer.from(text, 'base64').toString('latin1');
}
