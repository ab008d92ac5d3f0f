import { checkLeaseAllowed, checkLeaseReadable } from '../../shared/auth/requests.ts';
import { type AuthInfo, NOBODY } from '../../shared/auth/state.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { decodeLeaseTimeToLiveRequest } from '../../shared/etcd/requests.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { Caller } from './caller.ts';
import { asCaller, freshReply, type Guard, needing } from './guard.ts';
import type { LeaseParts } from './lease.ts';
import { checkMessage, type Reply, type ServiceHandlers } from './service.ts';

const NO_RESPONSE = new Uint8Array(0);
/** Leases whose keys are asked for at the same time. */
const LEASES_AT_ONCE = 32;

/** etcd's Lease service while auth is enabled, around the handlers `open`; keep-alives ask `checkKeepAlive`. */
export function checkedLeaseHandlers(parts: LeaseParts, { unary }: ServiceHandlers): ServiceHandlers {
  const { guard } = parts;
  return {
    unary: {
      LeaseGrant: needing(guard, () => 'user', unary!['LeaseGrant']!),
      LeaseRevoke: (request, reply, caller) => {
        checkMessage(request);
        guard.identify(caller, failing(reply), (info) => {
          guard.check('user', info);
          parts.submit(...asCaller(info, WriteKind.LeaseRevoke, request), reply);
        });
      },
      LeaseTimeToLive: (request, reply, caller) => {
        const { id, keys } = decodeLeaseTimeToLiveRequest(request);
        if (!keys) return needing(guard, () => 'user', unary!['LeaseTimeToLive']!)(request, reply, caller);
        const check = async (info: AuthInfo): Promise<void> => {
          if (!guard.state.isAdmin(info)) checkLeaseReadable(guard.state, info, await keysOf(parts, id));
        };
        answer(parts, caller, reply, check, (fresh) => unary!['LeaseTimeToLive']!(request, fresh, caller));
      },
      LeaseLeases: (request, reply, caller) => {
        checkMessage(request);
        const check = (info: AuthInfo): Promise<void> => checkAllLeases(parts, info);
        answer(parts, caller, reply, check, (fresh) => unary!['LeaseLeases']!(request, fresh, caller));
      },
    },
  };
}

/** For one keep-alive; rejects with etcd's error if the caller could not write all of the lease's keys. */
export async function checkKeepAlive(parts: LeaseParts, caller: Caller, id: bigint): Promise<void> {
  const { guard } = parts;
  const info = await userOf(guard, caller);
  if (guard.state.isAdmin(info)) return;
  const { revision } = guard.state;
  checkLeaseAllowed(guard.state, info, await keysOf(parts, id));
  if (revision !== guard.state.revision) throw new EtcdError('AuthOldRevision');
}

/** Answers by `go` after `check`, unless the auth store changes between the check and the reply. */
function answer(
  parts: LeaseParts,
  caller: Caller,
  reply: Reply,
  check: (info: AuthInfo) => Promise<void>,
  go: (reply: Reply) => void,
): void {
  const { guard } = parts;
  const run = async (): Promise<void> => {
    const info = await userOf(guard, caller);
    const { revision } = guard.state;
    await check(info);
    go(freshReply(guard, { ...info, revision }, reply));
  };
  run().catch(failing(reply));
}

async function userOf(guard: Guard, caller: Caller): Promise<AuthInfo> {
  const info = await new Promise<AuthInfo | undefined>((resolve, reject) => {
    guard.identify(caller, reject, resolve);
  });
  guard.check('user', info);
  return info ?? NOBODY;
}

/** A lease's keys, of everything that is durable. */
async function keysOf({ gate, readers }: LeaseParts, id: bigint): Promise<Uint8Array[]> {
  await new Promise<void>((resolve, reject) => {
    gate.enter((error) => (error === undefined ? resolve() : reject(error)));
  });
  return readers.leaseKeys(id);
}

/** As in etcd, who lists leases must be able to read all keys of all leases. */
async function checkAllLeases(parts: LeaseParts, info: AuthInfo): Promise<void> {
  const { guard, lessor } = parts;
  if (guard.state.isAdmin(info)) return;
  const ids = lessor.ids();
  for (let first = 0; first < ids.length; first += LEASES_AT_ONCE) {
    const keys = await Promise.all(ids.slice(first, first + LEASES_AT_ONCE).map((id) => keysOf(parts, id)));
    checkLeaseReadable(guard.state, info, keys.flat());
  }
}

function failing(reply: Reply): (error: Error) => void {
  return (error) => reply(error, NO_RESPONSE);
}
