import { Reader } from '../../shared/etcd/wire.ts';

/** What a call needs while auth is enabled: a user, or one with the root role. */
export type Need = 'user' | 'root';

/** By method, for services that need nothing finer; a need may depend on the request. */
export type Needs = Readonly<Record<string, Need | ((request: Buffer) => Need)>>;

/** AlarmRequest.action, of which GET is 0. */
const ACTION_TAG = 8;

/** As etcd's v3rpc/maintenance.go has it. */
export const MAINTENANCE_NEEDS: Needs = {
  Alarm: alarmNeed,
  Status: 'user',
  Defragment: 'root',
  Hash: 'root',
  HashKV: 'root',
  Snapshot: 'root',
  MoveLeader: 'root',
  Downgrade: 'root',
};

/** As etcd's server.go has it. */
export const CLUSTER_NEEDS: Needs = {
  MemberList: 'user',
  MemberAdd: 'root',
  MemberRemove: 'root',
  MemberUpdate: 'root',
  MemberPromote: 'root',
};

/** Alarms may be read by every user. */
function alarmNeed(request: Buffer): Need {
  const reader = new Reader(request);
  let action = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ACTION_TAG) action = reader.int32();
    else reader.skip(tag);
  }
  return action === 0 ? 'user' : 'root';
}
