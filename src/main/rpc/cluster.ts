import { create, toBinary } from '@bufbuild/protobuf';
import { asBuffer } from '../../shared/base/bytes.ts';
import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import {
  MemberListResponseSchema,
  MemberSchema,
  ResponseHeaderSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Reader } from '../../shared/etcd/wire.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { Identity } from './identity.ts';
import type { Reply, ServiceHandlers } from './service.ts';

export interface Member {
  readonly id: bigint;
  readonly name: string;
  readonly clientUrls: readonly string[];
}

export interface ClusterParts {
  identity: Identity;
  gate: ReadGate;
  name: string;
  clientUrls(): readonly string[];
  /** The primary, as a standby knows it; undefined on the primary itself, and when there is none. */
  primary(): Member | undefined;
}

const NO_RESPONSE = new Uint8Array(0);
/** Of the requests: an id or a flag is their first field; peer URLs are MemberAdd's first. */
const TAGS = { id: 8, linearizable: 8, peerUrl: 10 } as const;

const HOW_MEMBERS_CHANGE =
  'netsy: members are not changed by request: one netsy serves a store, and another one that is started with the same --store waits as its standby';

/** etcd's Cluster service: this node and, on a standby, the primary before it. */
export function clusterHandlers(parts: ClusterParts): ServiceHandlers {
  return {
    unary: {
      MemberList: (request, reply) => {
        const answer = (): void => reply(undefined, memberList(parts));
        // What a standby knows of the members comes from the primary's lease, not from the log.
        if (!isLinearizable(request) || parts.primary() !== undefined) return answer();
        parts.gate.enter((error) => {
          if (error === undefined) answer();
          else reply(error, NO_RESPONSE);
        });
      },
      MemberAdd: (request, reply) => {
        const urls = peerUrlsOf(request);
        const usable = urls.length > 0 && urls.every(isMemberUrl);
        reply(usable ? membersStay() : new EtcdError('MemberBadURLs'), NO_RESPONSE);
      },
      MemberRemove: (request, reply) => ofThisMember(parts, request, reply, membersStay),
      MemberUpdate: (request, reply) => ofThisMember(parts, request, reply, membersStay),
      MemberPromote: (request, reply) => {
        ofThisMember(parts, request, reply, () => new EtcdError('MemberNotLearner'));
      },
    },
  };
}

function membersStay(): Error {
  return new RefusedError(GrpcCode.FailedPrecondition, HOW_MEMBERS_CHANGE);
}

function ofThisMember({ identity }: ClusterParts, request: Buffer, reply: Reply, refusal: () => Error): void {
  const isOurs = memberIdOf(request) === BigInt.asUintN(64, identity.memberId);
  reply(isOurs ? refusal() : new EtcdError('MemberNotFound'), NO_RESPONSE);
}

function memberList({ identity, name, clientUrls, primary }: ClusterParts): Uint8Array {
  const memberId = BigInt.asUintN(64, identity.memberId);
  const other = primary();
  const members = other === undefined ? [] : [other];
  members.push({ id: identity.memberId, name, clientUrls: clientUrls() });
  const response = create(MemberListResponseSchema, {
    // etcd answers this one without a revision.
    header: create(ResponseHeaderSchema, {
      clusterId: BigInt.asUintN(64, identity.clusterId),
      memberId,
      raftTerm: BigInt(identity.raftTerm),
    }),
    members: members.map((member) =>
      create(MemberSchema, {
        ID: BigInt.asUintN(64, member.id),
        name: member.name,
        clientURLs: [...member.clientUrls],
      }),
    ),
  });
  return toBinary(MemberListResponseSchema, response);
}

/** MemberListRequest.linearizable. Generated code would take a malformed request for an empty one. */
function isLinearizable(bytes: Buffer): boolean {
  const reader = new Reader(bytes);
  let linearizable = false;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === TAGS.linearizable) linearizable = reader.bool();
    else reader.skip(tag);
  }
  return linearizable;
}

/** The ID of a MemberRemoveRequest, MemberUpdateRequest or MemberPromoteRequest. */
function memberIdOf(bytes: Buffer): bigint {
  const reader = new Reader(bytes);
  let id = 0n;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === TAGS.id) id = BigInt.asUintN(64, reader.bigint64());
    else reader.skip(tag);
  }
  return id;
}

/** MemberAddRequest.peerURLs */
function peerUrlsOf(bytes: Buffer): string[] {
  const reader = new Reader(bytes);
  const urls: string[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === TAGS.peerUrl) urls.push(asBuffer(reader.bytes()).toString());
    else reader.skip(tag);
  }
  return urls;
}

const SCHEME = /^([a-z][a-z0-9+.-]*):(.*)$/is;
/** `//host:port`, perhaps with a user before it and a query or fragment after it, but without a path. */
const HOST_AND_PORT = /^\/\/(?:[^/?#]*@)?(?:\[[^\]\s]*\]|[^[\]:\s/?#]*):\d*(?:[?#].*)?$/s;

/** Whether etcd takes this for a member's URL (client/pkg/types/urls.go). */
function isMemberUrl(text: string): boolean {
  const [, scheme = '', rest = ''] = SCHEME.exec(text.trim()) ?? [];
  if (/^unixs?$/i.test(scheme)) return true;
  return /^https?$/i.test(scheme) && HOST_AND_PORT.test(rest);
}
