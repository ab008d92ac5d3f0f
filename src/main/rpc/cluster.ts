import { create, toBinary } from '@bufbuild/protobuf';
import {
  MemberListResponseSchema,
  MemberSchema,
  ResponseHeaderSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { Identity } from './identity.ts';
import { checkMessage, type ServiceHandlers } from './service.ts';

export interface ClusterParts {
  identity: Identity;
  name: string;
  clientUrls(): readonly string[];
}

/** etcd's Cluster service: this node is the one member. */
export function clusterHandlers(parts: ClusterParts): ServiceHandlers {
  return {
    unary: {
      MemberList: (request, reply) => {
        checkMessage(request);
        reply(undefined, memberList(parts));
      },
    },
  };
}

function memberList({ identity, name, clientUrls }: ClusterParts): Uint8Array {
  const memberId = BigInt.asUintN(64, identity.memberId);
  const response = create(MemberListResponseSchema, {
    // etcd answers this one without a revision.
    header: create(ResponseHeaderSchema, {
      clusterId: BigInt.asUintN(64, identity.clusterId),
      memberId,
      raftTerm: BigInt(identity.raftTerm),
    }),
    members: [create(MemberSchema, { ID: memberId, name, clientURLs: [...clientUrls()] })],
  });
  return toBinary(MemberListResponseSchema, response);
}
