import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  Cluster,
  DowngradeRequest_DowngradeAction as DowngradeAction,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { failureOf } from '../support/etcd-client.ts';
import { missingTools } from '../support/tools.ts';
import { Pair } from './pair.ts';

const { moveLeader, downgrade, status } = Maintenance.method;
const { memberAdd, memberRemove, memberUpdate, memberPromote, memberList } = Cluster.method;
const FAILED_PRECONDITION = 9;
const { VALIDATE, ENABLE, CANCEL } = DowngradeAction;
const VERSIONS = [
  ...['3.6', '3.6.0', '3.6.9', '03.6.0', '3.6.0-rc.1', '3.6.0+x', '3.6.0-', '3.6.0+', '3.6.0-a+b', '3.5'],
  ...['3.7', '3.8', '4.6', '', 'x', '3', 'v3.6', '3.6.0.0', '3.6.x', '3.-6.0', '3.6.0-a/b', '3.6-rc', ' 3.6'],
  ...['9223372036854775807.6.0', '9223372036854775808.6.0', '3.6.9223372036854775808', '3.6.0+a+b', '3..6'],
];
const BAD_URLS = [
  ...[[], [''], ['x'], ['127.0.0.1:1'], ['http://a'], ['http://a:1/'], ['http://a:1/b'], ['ftp://a:1']],
  ...[['http:a:1'], ['http://a:b'], ['http://[::1]'], ['http://::1:2'], ['http://a:1', 'http://b']],
  ...[['https://a:1?b/c', 'tcp://a:1'], ['http://a b:1'], ['://a:1']],
];
const GOOD_URLS = [
  ['http://a:1'],
  ['https://[::1]:2', ' http://a:1 '],
  ['HTTP://a:'],
  ['unix://x:1'],
  ['http://a:1?b/c'],
];

describe('members, leaders and versions are etcd’s of one member', {
  skip: missingTools('go'),
  timeout: 300_000,
}, () => {
  let pair: Pair;

  before(async () => {
    pair = await Pair.start();
  });
  after(async () => pair?.stop());

  async function ids(): Promise<{ ours: bigint; theirs: bigint }> {
    const [ours, theirs] = await Promise.all([pair.ours.call(status, {}), pair.theirs.call(status, {})]);
    return { ours: ours.header!.memberId, theirs: theirs.header!.memberId };
  }

  it('MoveLeader takes the leader itself and nobody else', async () => {
    for (const targetID of [0n, 1n, 2n ** 64n - 1n]) await pair.same(moveLeader, { targetID });
    const { ours, theirs } = await ids();
    const answers = [
      await pair.ours.call(moveLeader, { targetID: ours }),
      await pair.theirs.call(moveLeader, { targetID: theirs }),
    ];
    assert.deepEqual(answers[0], answers[1]);
  });

  it('requests that name no member or no URL get etcd’s errors', async () => {
    for (const peerURLs of BAD_URLS) {
      const failure = await failureOf(pair.theirs.call(memberAdd, { peerURLs }));
      assert.deepEqual(await failureOf(pair.ours.call(memberAdd, { peerURLs })), failure, peerURLs.join());
      await pair.same(memberAdd, { peerURLs, isLearner: true });
    }
    for (const ID of [0n, 5n, 2n ** 64n - 1n]) {
      await pair.same(memberRemove, { ID });
      await pair.same(memberUpdate, { ID, peerURLs: ['x'] });
      await pair.same(memberPromote, { ID });
    }
    const { ours, theirs } = await ids();
    const promoted = await failureOf(pair.ours.call(memberPromote, { ID: ours }));
    assert.deepEqual(promoted, await failureOf(pair.theirs.call(memberPromote, { ID: theirs })));
  });

  it('requests that would change the members say how that is done here', async () => {
    const { ours: ID } = await ids();
    const failures = [
      ...GOOD_URLS.map((peerURLs) => failureOf(pair.ours.call(memberAdd, { peerURLs }))),
      failureOf(pair.ours.call(memberRemove, { ID })),
      failureOf(pair.ours.call(memberUpdate, { ID, peerURLs: ['http://a:1'] })),
    ];
    for (const { code, details } of await Promise.all(failures)) {
      assert.equal(code, FAILED_PRECONDITION);
      assert.match(details, /^netsy: members are not changed by request: .* started with the same --store/);
    }
  });

  it('MemberList, linearizable or not', async () => {
    for (const linearizable of [false, true]) {
      const [ours, theirs] = await Promise.all([
        pair.ours.call(memberList, { linearizable }),
        pair.theirs.call(memberList, { linearizable }),
      ]);
      const [member, peer] = [ours.members[0]!, theirs.members[0]!];
      assert.deepEqual([ours.members.length, theirs.members.length], [1, 1]);
      assert.deepEqual([ours.header?.revision, theirs.header?.revision], [0n, 0n]);
      assert.equal(member.isLearner, peer.isLearner);
      assert.deepEqual(member.clientURLs, [pair.netsy.endpoint]);
      assert.equal(member.ID, ours.header!.memberId);
    }
  });

  it('Status has every field that etcd’s has', async () => {
    const answers = await Promise.all([pair.ours.call(status, {}), pair.theirs.call(status, {})]);
    const [ours, theirs] = answers.map((answer) => {
      const { leader, header, dbSize, dbSizeInUse, raftIndex, raftAppliedIndex, raftTerm } = answer;
      assert.equal(leader, header!.memberId);
      assert.ok(dbSize >= dbSizeInUse && dbSizeInUse > 0n);
      assert.ok(raftIndex >= raftAppliedIndex && raftAppliedIndex > 0n);
      assert.equal(raftTerm, header!.raftTerm);
      const { version, errors, isLearner, storageVersion, downgradeInfo } = answer;
      return { version, errors, isLearner, storageVersion, downgradeInfo, revision: header!.revision };
    });
    assert.deepEqual(ours, theirs);
    assert.deepEqual(
      [answers[0].dbSizeQuota, answers[1].dbSizeQuota],
      [0n, 2n ** 31n],
      'none, and etcd’s default',
    );
  });

  /** etcd's cluster version follows a downgrade within some seconds; ours at once. */
  async function settled(): Promise<void> {
    const of = async (endpoint: string): Promise<string> => (await fetch(`${endpoint}/version`)).text();
    const expected = await of(pair.netsy.endpoint);
    for (let tries = 0; tries < 600 && (await of(pair.etcd.endpoint)) !== expected; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(await of(pair.etcd.endpoint), expected);
    const answers = await Promise.all([pair.ours.call(status, {}), pair.theirs.call(status, {})]);
    const [ours, theirs] = answers.map(({ version, storageVersion, downgradeInfo }) => {
      return { version, storageVersion, downgradeInfo };
    });
    assert.deepEqual(ours, theirs);
  }

  it('Downgrade is validated, enabled and cancelled', async () => {
    for (const version of VERSIONS) await pair.same(downgrade, { action: VALIDATE, version });
    await pair.same(downgrade, { action: CANCEL });
    await pair.same(downgrade, { action: 7 as DowngradeAction, version: '3.6' });
    await pair.same(downgrade, { action: ENABLE, version: '3.5' });
    await pair.same(downgrade, { action: ENABLE, version: '3.6' });
    await settled();
    for (const version of ['3.6', '3.5', '3.4', 'x']) {
      await pair.same(downgrade, { action: VALIDATE, version });
      await pair.same(downgrade, { action: ENABLE, version });
    }
    await pair.same(downgrade, { action: CANCEL });
    await settled();
    await pair.same(downgrade, { action: VALIDATE, version: '3.6' });
  });
});
