import { create, toBinary } from '@bufbuild/protobuf';
import { type AlarmMember, alarmTypeName } from '../../shared/etcd/alarm.ts';
import { DowngradeAction, decodeDowngradeRequest } from '../../shared/etcd/downgrade.ts';
import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import {
  DefragmentResponseSchema,
  HashKVResponseSchema,
  HashResponseSchema,
  MoveLeaderResponseSchema,
  ResponseHeaderSchema,
  StatusResponseSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Reader } from '../../shared/etcd/wire.ts';
import { ETCD_VERSION } from '../../shared/model/version.ts';
import type { HashReply, HashRequest } from '../../workers/contract/reader.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { WriteCallback } from '../commit/batch.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { ClusterState } from '../state/cluster-state.ts';
import type { ReaderPool } from '../state/reader-client.ts';
import { handleAlarm, shownAlarms } from './alarm.ts';
import type { Identity } from './identity.ts';
import { checkMessage, type Reply, type ServiceHandlers } from './service.ts';
import type { SnapshotStreams } from './snapshot.ts';

export interface MaintenanceParts {
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): void;
  identity: Identity;
  /** The primary's member id; 0n when there is none, as far as this process knows. */
  leader(): bigint;
  gate: ReadGate;
  readers: ReaderPool;
  cluster: ClusterState;
  /** The cache's size, and how much of it is in use. */
  databaseBytes(): { total: number; inUse: number };
  /** What the database may take; 0 is no limit. */
  quotaBytes: number;
  /** Gives the cache's unused pages back to the disk, in small steps between writes. */
  defragment(): Promise<void>;
  /** Why the disk under the cache refuses writes; undefined when it does not. */
  diskTrouble(): string | undefined;
  snapshots: SnapshotStreams;
}

const NO_RESPONSE = new Uint8Array(0);
/** Of HashKVRequest.revision and of MoveLeaderRequest.targetID. */
const FIRST_FIELD_TAG = 8;

/** etcd's Maintenance service. */
export function maintenanceHandlers(parts: MaintenanceParts): ServiceHandlers {
  return {
    unary: {
      Status: (request, reply) => {
        checkMessage(request);
        reply(undefined, status(parts));
      },
      Alarm: (request, reply) => handleAlarm(parts, request, reply),
      Defragment: (request, reply) => {
        checkMessage(request);
        parts.defragment().then(
          () => reply(undefined, toBinary(DefragmentResponseSchema, create(DefragmentResponseSchema, {}))),
          (error: Error) => reply(error, NO_RESPONSE),
        );
      },
      Hash: (request, reply) => {
        checkMessage(request);
        hash(parts, { revision: 0, whole: true }, reply);
      },
      HashKV: (request, reply) => hash(parts, { revision: hashRevision(request), whole: false }, reply),
      MoveLeader: (request, reply) => moveLeader(parts, request, reply),
      Downgrade: (request, reply) => downgrade(parts, request, reply),
    },
    serverStream: { Snapshot: (call) => void parts.snapshots.stream(call) },
  };
}

function headerMessage(identity: Identity, revision: number = identity.revision) {
  const { clusterId, memberId, raftTerm } = identity;
  return create(ResponseHeaderSchema, {
    clusterId: BigInt.asUintN(64, clusterId),
    memberId: BigInt.asUintN(64, memberId),
    revision: BigInt(revision),
    raftTerm: BigInt(raftTerm),
  });
}

function status(parts: MaintenanceParts): Uint8Array {
  const { identity, gate, cluster } = parts;
  const { total, inUse } = parts.databaseBytes();
  const trouble = parts.diskTrouble();
  const targetVersion = cluster.downgradeTarget ?? '';
  const leader = parts.leader();
  return toBinary(
    StatusResponseSchema,
    create(StatusResponseSchema, {
      header: headerMessage(identity),
      version: ETCD_VERSION,
      dbSize: BigInt(total),
      dbSizeInUse: BigInt(inUse),
      dbSizeQuota: BigInt(parts.quotaBytes),
      leader: BigInt.asUintN(64, leader),
      // A sequence is to our log what the index is to etcd's raft log.
      raftIndex: BigInt(gate.durableSequence),
      raftAppliedIndex: BigInt(gate.appliedSequence),
      raftTerm: BigInt(identity.raftTerm),
      storageVersion: cluster.storageVersion,
      downgradeInfo: { enabled: targetVersion !== '', targetVersion },
      errors: [
        ...(leader === 0n ? [new EtcdError('NoLeader').message] : []),
        ...shownAlarms(parts).map(alarmText),
        ...(trouble ? [`cache disk: ${trouble}`] : []),
      ],
    }),
  );
}

/** An alarm as Go prints the message. */
function alarmText({ memberId, alarm }: AlarmMember): string {
  const fields = [`memberID:${memberId}`, `alarm:${alarmTypeName(alarm)}`];
  return (memberId === 0n ? fields.slice(1) : fields).join(' ');
}

/** HashKVRequest.revision. Generated code would take a malformed request for an empty one. */
function hashRevision(bytes: Buffer): number {
  const reader = new Reader(bytes);
  let revision = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === FIRST_FIELD_TAG) revision = reader.int64();
    else reader.skip(tag);
  }
  return revision;
}

function hash(parts: MaintenanceParts, request: HashRequest, reply: Reply): void {
  const { gate, readers, identity } = parts;
  const answer = (found: HashReply): void => {
    const header = headerMessage(identity, found.newestRevision);
    const kv = {
      header,
      hash: found.hash,
      compactRevision: BigInt(found.compactRevision),
      hashRevision: BigInt(found.hashRevision),
    };
    if (request.whole) {
      reply(
        undefined,
        toBinary(HashResponseSchema, create(HashResponseSchema, { header, hash: found.hash })),
      );
    } else reply(undefined, toBinary(HashKVResponseSchema, create(HashKVResponseSchema, kv)));
  };
  gate.enter((error) => {
    if (error !== undefined) reply(error, NO_RESPONSE);
    else readers.hash(request).then(answer, (failure: Error) => reply(failure, NO_RESPONSE));
  }, true);
}

/** The one member leads and is the only one that may. */
function moveLeader({ identity, leader }: MaintenanceParts, bytes: Buffer, reply: Reply): void {
  const reader = new Reader(bytes);
  let target = 0n;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === FIRST_FIELD_TAG) target = reader.bigint64();
    else reader.skip(tag);
  }
  if (leader() !== identity.memberId) reply(new EtcdError('NotLeader'), NO_RESPONSE);
  else if (BigInt.asUintN(64, target) !== BigInt.asUintN(64, identity.memberId)) {
    reply(new EtcdError('BadLeaderTransferee'), NO_RESPONSE);
  } else reply(undefined, toBinary(MoveLeaderResponseSchema, create(MoveLeaderResponseSchema, {})));
}

function downgrade(parts: MaintenanceParts, request: Buffer, reply: Reply): void {
  const { action } = decodeDowngradeRequest(request);
  if (Object.values<number>(DowngradeAction).includes(action)) {
    parts.submit(WriteKind.Downgrade, request, reply);
  } else reply(new RefusedError(GrpcCode.Unknown, 'etcdserver: unknown method'), NO_RESPONSE);
}
