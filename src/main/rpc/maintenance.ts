import { create, toBinary } from '@bufbuild/protobuf';
import {
  AlarmMemberSchema,
  AlarmRequest_AlarmAction,
  AlarmResponseSchema,
  AlarmType,
  DefragmentResponseSchema,
  ResponseHeaderSchema,
  StatusResponseSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Reader } from '../../shared/etcd/wire.ts';
import { ETCD_STORAGE_VERSION, ETCD_VERSION } from '../../shared/model/version.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { Identity } from './identity.ts';
import { checkMessage, type Reply, type ServiceHandlers } from './service.ts';
import { notImplemented } from './status.ts';

export interface MaintenanceParts {
  identity: Identity;
  gate: ReadGate;
  /** The cache's size, and how much of it is in use. */
  databaseBytes(): { total: number; inUse: number };
  /** Gives the cache's unused pages back to the disk, in small steps between writes. */
  defragment(): Promise<void>;
  /** Why the disk under the cache refuses writes; undefined when it does not. */
  diskTrouble(): string | undefined;
}

const NO_RESPONSE = new Uint8Array(0);
const ACTION_TAG = 8;

/** etcd's Maintenance service, as far as a single node has use for it. */
export function maintenanceHandlers(parts: MaintenanceParts): ServiceHandlers {
  return {
    unary: {
      Status: (request, reply) => {
        checkMessage(request);
        reply(undefined, status(parts));
      },
      Alarm: (request, reply) => alarm(parts, request, reply),
      Defragment: (request, reply) => {
        checkMessage(request);
        parts.defragment().then(
          () => reply(undefined, toBinary(DefragmentResponseSchema, create(DefragmentResponseSchema, {}))),
          (error: Error) => reply(error, NO_RESPONSE),
        );
      },
    },
  };
}

function headerMessage(identity: Identity) {
  const { clusterId, memberId, revision, raftTerm } = identity;
  return create(ResponseHeaderSchema, {
    clusterId: BigInt.asUintN(64, clusterId),
    memberId: BigInt.asUintN(64, memberId),
    revision: BigInt(revision),
    raftTerm: BigInt(raftTerm),
  });
}

function status(parts: MaintenanceParts): Uint8Array {
  const { identity, gate } = parts;
  const { total, inUse } = parts.databaseBytes();
  const trouble = parts.diskTrouble();
  return toBinary(
    StatusResponseSchema,
    create(StatusResponseSchema, {
      header: headerMessage(identity),
      version: ETCD_VERSION,
      dbSize: BigInt(total),
      dbSizeInUse: BigInt(inUse),
      leader: BigInt.asUintN(64, identity.memberId),
      // A sequence is to our log what the index is to etcd's raft log.
      raftIndex: BigInt(gate.durableSequence),
      raftAppliedIndex: BigInt(gate.appliedSequence),
      raftTerm: BigInt(identity.raftTerm),
      storageVersion: ETCD_STORAGE_VERSION,
      errors: trouble === undefined ? [] : [`cache disk: ${trouble}`],
    }),
  );
}

/** AlarmRequest.action. Generated code would take a malformed request for an empty one. */
function alarmAction(bytes: Buffer): number {
  const reader = new Reader(bytes);
  let action = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ACTION_TAG) action = reader.int32();
    else reader.skip(tag);
  }
  return action;
}

/** The one alarm is NOSPACE while the disk under the cache is full; it ends by itself. */
function alarm(parts: MaintenanceParts, bytes: Buffer, reply: Reply): void {
  if (alarmAction(bytes) === AlarmRequest_AlarmAction.ACTIVATE) {
    const { code, details } = notImplemented('etcdserverpb.Maintenance', 'Alarm (ACTIVATE)');
    reply(Object.assign(new Error(details), { code, details }), NO_RESPONSE);
    return;
  }
  const memberID = BigInt.asUintN(64, parts.identity.memberId);
  const noSpace = create(AlarmMemberSchema, { memberID, alarm: AlarmType.NOSPACE });
  const response = create(AlarmResponseSchema, {
    header: headerMessage(parts.identity),
    alarms: parts.diskTrouble() === undefined ? [] : [noSpace],
  });
  reply(undefined, toBinary(AlarmResponseSchema, response));
}
