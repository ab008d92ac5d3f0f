import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '../support/netsy.ts';
import type { Etcdctl } from './etcdctl.ts';

/** One row of the table of verbs. */
export interface Verb {
  readonly verb: string;
  /** What is checked, in a few words. */
  readonly checked: string;
  /** Not in Debian's etcdctl 3.4. */
  readonly modern?: true;
  /** Its answers are our own: they must match this instead of being etcd's. */
  readonly own?: RegExp;
  /** Why it is not run. */
  readonly skipped?: string;
  run?(ctl: Etcdctl): Promise<unknown>;
}

async function all(ctl: Etcdctl, ...lines: string[]): Promise<void> {
  for (const line of lines) await ctl.run(line);
}

async function allModern(ctl: Etcdctl, ...lines: string[]): Promise<void> {
  for (const line of lines) await ctl.runModern(line);
}

/** The id of a new lease, in hexadecimal. */
async function lease(ctl: Etcdctl, seconds: number): Promise<string> {
  const printed = await ctl.ask(`lease grant ${seconds}`);
  return /lease (\w+) granted/.exec(printed)![1]!;
}

async function revision(ctl: Etcdctl): Promise<number> {
  return (JSON.parse(await ctl.ask('get x -w json')) as { header: { revision: number } }).header.revision;
}

async function memberId(ctl: Etcdctl): Promise<string> {
  return (await ctl.ask('member list')).split(',')[0]!;
}

/**
 * Every verb of etcdctl 3.7.3, in an order in which the histories of both servers stay the same for as long as their
 * hashes are compared: leases, whose ids the server chooses, come after that.
 */
export const VERBS: readonly Verb[] = [
  {
    verb: 'put',
    checked:
      'value as an argument and from standard input, --prev-kv, --ignore-value, --ignore-lease, bad leases',
    run: async (ctl) => {
      await all(
        ctl,
        'put p/a 1',
        'put --prev-kv p/a 2',
        'put --prev-kv -w json p/a 3',
        'put p/b "two words"',
      );
      await ctl.run('put p/c', 'from standard input');
      await all(ctl, 'put --ignore-value p/a', 'put --ignore-lease p/a 4', 'put --ignore-value p/none');
      await all(ctl, 'put --lease=123 p/a 5', 'put', 'put p/a 6 7');
    },
  },
  {
    verb: 'get',
    checked:
      'prefix, range, from-key, order, sort, limit, rev, keys-only, count-only, consistency, formats, errors',
    run: async (ctl) => {
      await all(ctl, 'get p/a', 'get p/none', 'get --prefix p/', 'get p/a p/c', 'get --from-key p/b');
      await all(ctl, 'get --prefix --order=DESCEND --sort-by=MODIFY p/', 'get --prefix --limit=1 p/');
      await all(ctl, 'get --prefix --sort-by=VALUE p/', 'get --rev=3 p/a', 'get --prefix --keys-only p/');
      await all(ctl, 'get --prefix --count-only -w fields p/', 'get --prefix --print-value-only p/');
      await all(
        ctl,
        'get --consistency=s p/a',
        'get -w json --prefix p/',
        'get -w fields p/a',
        'get --hex p/a',
      );
      await all(ctl, 'get --rev=99999 p/a', 'get --consistency=x p/a', 'get --prefix --from-key p/', 'get');
      await allModern(ctl, 'get --prefix --min-mod-rev=4 p/', 'get --prefix --max-create-rev=3 -w json p/');
    },
  },
  {
    verb: 'del',
    checked: 'a key, prefix, range, from-key, --prev-kv, nothing to delete',
    run: async (ctl) => {
      await all(ctl, 'put d/a 1', 'put d/b 2', 'put d/c 3', 'put d/d 4', 'del d/a', 'del d/a');
      await all(
        ctl,
        'del --prev-kv d/b',
        'del d/c d/d',
        'del --prefix d/',
        'del --prefix --from-key d/',
        'del',
      );
      await allModern(ctl, 'put d/e 5', 'del --range d/e d/f');
    },
  },
  {
    verb: 'txn',
    checked: 'success and failure, every compare, a conflict, formats, input that is none',
    run: async (ctl) => {
      await ctl.run('txn', 'value("t") = "x"\n\nget t\n\nput t x\n\n');
      await ctl.run('txn', 'value("t") = "x"\nmod("t") > "0"\n\nput t y\nget t\n\nget t\n\n');
      await ctl.run('txn -w json', 'create("t") != "0"\nver("t") < "9"\n\ndel t\n\n\n');
      await ctl.run('txn', 'c("t") = "0"\n\nput t 1\nput t 2\n\n\n');
      await ctl.run('txn', 'nonsense\n\n\n\n');
    },
  },
  {
    verb: 'compaction',
    checked: 'plain and --physical, twice, in the future, history gone',
    run: async (ctl) => {
      await all(ctl, 'put c/a 1', 'put c/a 2', 'put c/a 3');
      const now = await revision(ctl);
      await all(
        ctl,
        `compact ${now - 1}`,
        `compact ${now - 1}`,
        `compact --physical ${now}`,
        'compact 99999',
      );
      await all(ctl, 'get --rev=2 c/a', 'compact', 'compact x');
    },
  },
  {
    verb: 'endpoint hashkv',
    checked: "etcd's own number for the same history",
    run: async (ctl) => {
      const { hash } = (
        JSON.parse(await ctl.ask('endpoint hashkv -w json')) as { HashKV: { hash: number } }[]
      )[0]!.HashKV;
      ctl.ran.push({ words: 'endpoint hashkv', code: 0, out: `hash ${hash}`, err: '' });
    },
  },
  {
    verb: 'snapshot save',
    checked: 'a file; what is in it is for the tests of snapshots',
    run: async (ctl) => {
      const file = join(temporaryDirectory(), 'saved.db');
      await ctl.run(`snapshot save ${file}`);
      ctl.ran.push({
        words: 'the file',
        code: 0,
        out: existsSync(file) ? 'is there' : 'is not there',
        err: '',
      });
      await ctl.run('snapshot save');
    },
  },
  {
    verb: 'endpoint health',
    checked: 'healthy, and an endpoint where nobody is',
    run: async (ctl) => {
      await all(ctl, 'endpoint health', 'endpoint health -w json', 'endpoint health --cluster');
      await ctl.run('endpoint health --endpoints 127.0.0.1:1 --command-timeout 300ms');
    },
  },
  {
    verb: 'endpoint status',
    checked: 'simple, JSON and fields: version, sizes, leader, no errors',
    own: /ENDPOINT, ID, 3\.7\.3, .*true, false, /,
    run: (ctl) => all(ctl, 'endpoint status', 'endpoint status -w json', 'endpoint status -w fields'),
  },
  {
    verb: 'alarm list',
    checked: 'none',
    run: (ctl) => all(ctl, 'alarm list', 'alarm list -w json'),
  },
  { verb: 'alarm disarm', checked: 'nothing to disarm', run: (ctl) => all(ctl, 'alarm disarm') },
  {
    verb: 'defrag',
    checked: 'ends, and everything is still there',
    run: (ctl) => all(ctl, 'defrag', 'get p/a'),
  },
  {
    verb: 'lease grant',
    checked: 'simple and JSON, TTLs that are none',
    run: (ctl) => all(ctl, 'lease grant 60', 'lease grant -w json 61', 'lease grant', 'lease grant x'),
  },
  {
    verb: 'lease timetolive',
    checked: 'with and without keys, a lease that is none',
    run: async (ctl) => {
      const id = await lease(ctl, 600);
      await all(ctl, `put --lease=${id} l/b 1`, `put --lease=${id} l/a 2`);
      const printed = await ctl.ask(`lease timetolive --keys ${id}`);
      // etcd gives the keys in no order.
      const keys = [.../\[(.*)\]/.exec(printed)![1]!.split(' ')].sort().join(' ');
      ctl.ran.push({ words: 'lease timetolive --keys', code: 0, out: keys, err: '' });
      await all(ctl, `lease revoke ${id}`, `lease timetolive ${id}`, 'get --prefix l/');
    },
  },
  {
    verb: 'lease revoke',
    checked: 'takes its keys along, twice',
    run: async (ctl) => {
      const id = await lease(ctl, 600);
      await all(ctl, `put --lease=${id} l/c 1`, `lease revoke ${id}`, 'get l/c', `lease revoke ${id}`);
    },
  },
  {
    verb: 'lease list',
    checked: 'every lease',
    run: async (ctl) => {
      const ids = (await ctl.ask('lease list')).trim().split('\n').slice(1);
      for (const id of ids) await ctl.ask(`lease revoke ${id}`);
      await ctl.run('lease list');
      await lease(ctl, 100);
      await all(ctl, 'lease list');
    },
  },
  {
    verb: 'lease keep-alive',
    checked: '--once, for as long as it lives, a lease that is none',
    run: async (ctl) => {
      const id = await lease(ctl, 60);
      await all(ctl, `lease keep-alive --once ${id}`, 'lease keep-alive --once 7');
      const renewing = ctl.start(`lease keep-alive ${id}`);
      await renewing.says(/keepalived with TTL\(60\)/);
      await ctl.ask(`lease revoke ${id}`);
      await renewing.interrupt();
    },
  },
  {
    verb: 'watch',
    checked: 'keys, prefixes, from a revision, --prev-kv, a command per event, -i with several watches',
    run: async (ctl) => {
      const from = (await revision(ctl)) + 1;
      await all(ctl, 'put w/a 1', 'put w/a 2', 'put w/b 3', 'del w/a');
      const past = ctl.start(`watch --prefix --prev-kv --rev=${from} w/`);
      await past.says(/DELETE\nw\/a\n2\n/);
      await past.interrupt();
      await ctl.keep(past);
      const commands = ctl.start(`watch --rev=${from} w/a -- printenv ETCD_WATCH_KEY ETCD_WATCH_VALUE`);
      await commands.says(/"w\/a"\n""\n/);
      await commands.interrupt();
      await ctl.keep(commands);
      const watches = `watch --rev=${from} w/b\nwatch w/ w/aa --rev=${from}\n`;
      const several = ctl.start('watch -i', watches, true);
      await several.says(/w\/b\n3\n/);
      await several.says(/DELETE\nw\/a\n/);
      await several.interrupt();
      await all(ctl, 'watch', 'compact --physical 2', 'watch --rev=1 w/a');
    },
  },
  {
    verb: 'lock',
    checked: 'a command under the lock and its exit code; one waits for the other',
    run: async (ctl) => {
      await all(ctl, 'lock lock echo held', 'lock lock -- sh -c "exit 3"', 'lock');
      const first = ctl.start('lock lock');
      await first.says(/lock\/\w+/);
      const second = ctl.start('lock lock -- echo then');
      await first.interrupt();
      await ctl.keep(first);
      await ctl.keep(second);
    },
  },
  {
    verb: 'elect',
    checked: 'one leads, another observes; the next one leads when it ends',
    run: async (ctl) => {
      const first = ctl.start('elect vote one');
      await first.says(/one\n/);
      const observer = ctl.start('elect -l vote');
      await observer.says(/one\n/);
      const second = ctl.start('elect vote two');
      await first.interrupt();
      await second.says(/two\n/);
      await observer.says(/two\n/);
      await second.interrupt();
      await observer.interrupt();
      for (const running of [first, second, observer]) await ctl.keep(running);
      await ctl.run('elect vote');
    },
  },
  {
    verb: 'make-mirror',
    checked: 'a prefix is copied under another one, and followed',
    run: async (ctl) => {
      await all(ctl, 'put m/a 1', 'put m/b 2');
      const mirror = ctl.start(`make-mirror --prefix m/ --dest-prefix copy/ ${ctl.endpoint}`);
      const copied = async (wanted: string): Promise<void> => {
        while ((await ctl.ask('get --prefix copy/')) !== wanted);
      };
      await copied('copy/a\n1\ncopy/b\n2\n');
      await all(ctl, 'put m/c 3', 'del m/a');
      await copied('copy/b\n2\ncopy/c\n3\n');
      await mirror.interrupt();
      await ctl.run('get --prefix copy/');
    },
  },
  {
    verb: 'member list',
    checked: 'the one member, in each format',
    own: /^ID, started, default, , ENDPOINT, false\n/,
    run: (ctl) => all(ctl, 'member list', 'member list -w json', 'member list -w table'),
  },
  {
    verb: 'member add',
    checked: 'says how members come to be here',
    own: /one netsy serves a store/,
    run: (ctl) => all(ctl, 'member add more --peer-urls=http://127.0.0.1:1'),
  },
  {
    verb: 'member remove',
    checked: 'an id that is none',
    run: (ctl) => all(ctl, 'member remove 1234', 'member remove x', 'member remove'),
  },
  {
    verb: 'member update',
    checked: 'an id that is none',
    run: (ctl) => all(ctl, 'member update 1234 --peer-urls=http://127.0.0.1:1', 'member update'),
  },
  {
    verb: 'member promote',
    checked: 'a member that is no learner, an id that is none',
    run: async (ctl) => all(ctl, `member promote ${await memberId(ctl)}`, 'member promote 1234'),
  },
  {
    verb: 'move-leader',
    checked: 'to itself, to nobody',
    run: async (ctl) => all(ctl, `move-leader ${await memberId(ctl)}`, 'move-leader 1234', 'move-leader'),
  },
  {
    verb: 'role add',
    checked: 'add, twice',
    run: (ctl) => all(ctl, 'role add r', 'role add r', 'role add root', 'role add'),
  },
  {
    verb: 'role grant-permission',
    checked: 'keys, prefixes, ranges, from-key, a type that is none',
    run: async (ctl) => {
      await all(ctl, 'role grant-permission r readwrite a', 'role grant-permission --prefix r read b/');
      await all(ctl, 'role grant-permission r write c d', 'role grant-permission --from-key r read z');
      await all(ctl, 'role grant-permission r nonsense a', 'role grant-permission none read a');
    },
  },
  {
    verb: 'role get',
    checked: 'every kind of permission',
    run: (ctl) => all(ctl, 'role get r', 'role get none'),
  },
  { verb: 'role list', checked: 'all', run: (ctl) => all(ctl, 'role list') },
  {
    verb: 'role revoke-permission',
    checked: 'a key, a prefix, one that is not granted',
    run: async (ctl) => {
      await all(ctl, 'role revoke-permission r a', 'role revoke-permission --prefix r b/');
      await all(ctl, 'role revoke-permission r nothing', 'role get r');
    },
  },
  {
    verb: 'user add',
    checked: 'password as an argument, from standard input, none; twice; no name',
    run: async (ctl) => {
      await all(ctl, 'user add root:pw', 'user add u:pw', 'user add u:pw', 'user add :pw');
      await ctl.run('user add v --interactive=false', 'secret\n');
      await ctl.run('user add w --no-password');
    },
  },
  {
    verb: 'user grant-role',
    checked: 'roles that are and are not',
    run: (ctl) => all(ctl, 'user grant-role u r', 'user grant-role u none', 'user grant-role root root'),
  },
  {
    verb: 'user get',
    checked: 'roles, --detail',
    run: (ctl) => all(ctl, 'user get u', 'user get u --detail', 'user get none'),
  },
  { verb: 'user list', checked: 'all', run: (ctl) => all(ctl, 'user list') },
  {
    verb: 'user passwd',
    checked: 'a new password',
    run: (ctl) => ctl.run('user passwd u --interactive=false', 'new\n'),
  },
  {
    verb: 'user revoke-role',
    checked: 'a role, one that it has not',
    run: (ctl) => all(ctl, 'user revoke-role u r', 'user revoke-role u r', 'user grant-role u r'),
  },
  {
    verb: 'auth enable',
    checked: 'checks begin: what a user may, may not, and without a name',
    run: async (ctl) => {
      await all(
        ctl,
        'auth enable',
        'put c 1',
        '--user u:new put c 1',
        '--user u:new get c',
        '--user u:new put e 1',
      );
      await all(ctl, '--user u:pw put c 1', '--user root:pw get c', '--user u:new user list');
    },
  },
  {
    verb: 'auth status',
    checked: 'on, and its revision',
    modern: true,
    run: (ctl) => all(ctl, 'auth status --user root:pw'),
  },
  {
    verb: 'auth disable',
    checked: 'checks end',
    run: (ctl) => all(ctl, 'auth disable', '--user root:pw auth disable', 'put c 2'),
  },
  {
    verb: 'user delete',
    checked: 'users that are and are not',
    run: (ctl) =>
      all(ctl, 'user delete u', 'user delete u', 'user delete v', 'user delete w', 'user delete root'),
  },
  {
    verb: 'role delete',
    checked: 'roles that are and are not',
    run: (ctl) => all(ctl, 'role delete r', 'role delete r', 'role delete root'),
  },
  {
    verb: 'downgrade validate',
    checked: 'one version down, and others',
    modern: true,
    run: (ctl) => all(ctl, 'downgrade validate 3.6.0', 'downgrade validate 3.5.0', 'downgrade validate x'),
  },
  {
    verb: 'downgrade enable',
    checked: 'to the version before',
    modern: true,
    run: (ctl) => all(ctl, 'downgrade enable 3.6.0'),
  },
  {
    verb: 'downgrade cancel',
    checked:
      'one that goes on; here the cluster version has followed at once, in etcd it does within seconds',
    modern: true,
    own: /^Downgrade cancel success, cluster version 3\.6\n/,
    run: (ctl) => all(ctl, 'downgrade cancel'),
  },
  { verb: 'check perf', checked: '', skipped: 'a load test of a minute: its verdict is about the machine' },
  {
    verb: 'check datascale',
    checked: '10,000 keys go in, are counted, and deleted again',
    modern: true,
    own: /PASS: Approximate system memory used/,
    run: (ctl) => all(ctl, 'check datascale'),
  },
  {
    verb: 'completion',
    checked: 'asks no server',
    modern: true,
    run: (ctl) => all(ctl, 'completion bash', 'completion nonsense'),
  },
  { verb: 'version', checked: 'asks no server', run: (ctl) => all(ctl, 'version') },
  { verb: 'help', checked: 'asks no server', run: (ctl) => all(ctl, 'help') },
  { verb: 'options', checked: 'asks no server', modern: true, run: (ctl) => all(ctl, 'options') },
];
