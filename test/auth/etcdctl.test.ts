import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { requireTool } from '../support/go-tools.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { CHEAP } from './fixture.ts';

/** Each with the words by which it differs from the other. */
const VERSIONS = [
  { name: 'etcdctl 3.4', tool: 'etcdctl', find: async () => 'etcdctl', hasStatus: false },
  { name: 'etcdctl 3.7', tool: 'go', find: () => requireTool('etcdctl'), hasStatus: true },
];

for (const { name, tool, find, hasStatus } of VERSIONS) {
  describe(`${name} with users and roles`, { timeout: 120_000, skip: missingTools(tool) }, () => {
    let server: Netsy;
    let command: string;

    before(async () => {
      command = await find();
      server = await startNetsy({ arguments: CHEAP });
    });
    after(() => server.stop());

    function run(
      words: string,
      user?: string,
      input = '',
    ): { status: number | null; out: string; err: string } {
      const as = user === undefined ? [] : ['--user', user];
      const env = { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: server.authority };
      const ran = spawnSync(command, [...as, ...words.split(' ')], { env, input, encoding: 'utf8' });
      return { status: ran.status, out: ran.stdout, err: ran.stderr };
    }

    function prints(words: string, wanted: string | RegExp, user?: string, input?: string): void {
      const { status, out, err } = run(words, user, input);
      assert.equal(status, 0, `${words}: ${err}`);
      if (typeof wanted === 'string') assert.equal(out, wanted, words);
      else assert.match(out, wanted, words);
    }

    function fails(words: string, wanted: RegExp, user?: string): void {
      const { status, err } = run(words, user);
      assert.notEqual(status, 0, words);
      assert.match(err, wanted);
    }

    it('makes and shows users and roles', () => {
      prints('user add root:pw', 'User root created\n');
      prints('user add alice:one', 'User alice created\n');
      prints('user add bob --interactive=false', 'User bob created\n', undefined, 'two\n');
      prints('user add carol --no-password', 'User carol created\n');
      fails('user add alice:again', /user name already exists/);
      prints('user list', 'alice\nbob\ncarol\nroot\n');
      prints('role add root', 'Role root created\n');
      prints('role add writer', 'Role writer created\n');
      prints('role add gone', 'Role gone created\n');
      prints('role list', 'gone\nroot\nwriter\n');
      prints('role grant-permission writer readwrite --prefix w/', 'Role writer updated\n');
      prints('role grant-permission writer read r', 'Role writer updated\n');
      prints(
        'role get writer',
        /^Role writer\nKV Read:\n\tr\n\t\[w\/, w0\) \(prefix w\/\)\nKV Write:\n\t\[w\/, w0\) /,
      );
      prints('user grant-role root root', 'Role root is granted to user root\n');
      prints('user grant-role alice writer', 'Role writer is granted to user alice\n');
      prints('user grant-role bob gone', 'Role gone is granted to user bob\n');
      prints('role delete gone', 'Role gone deleted\n');
      prints('user get bob', 'User: bob\nRoles:\n');
      prints('user get alice --detail', /^User: alice\n\nRole writer\nKV Read:/);
      fails('auth disable --nonsense', /unknown flag/);
    });

    it('enables auth, after which only the permitted is done', () => {
      prints('auth enable', 'Authentication Enabled\n');
      if (hasStatus) prints('auth status', /^Authentication Status: true\nAuthRevision: \d+\n$/);
      fails('get a', /user name is empty/);
      fails('get a', /invalid user ID or password/, 'alice:wrong');
      prints('put w/a 1', 'OK\n', 'alice:one');
      prints('get --prefix w/', 'w/a\n1\n', 'alice:one');
      fails('put r 1', /permission denied/, 'alice:one');
      prints('get r', '', 'alice:one');
      fails('get --prefix --keys-only w', /permission denied/, 'alice:one');
      fails('user list', /permission denied/, 'alice:one');
      prints('user get alice', 'User: alice\nRoles: writer\n', 'alice:one');
      prints('get --prefix w', 'w/a\n1\n', 'root:pw');
      fails('compact 1', /permission denied/, 'alice:one');
      fails('endpoint hashkv', /permission denied/, 'alice:one');
      prints('endpoint status', /3\.7\.3/, 'alice:one');
      prints('member list', /started/, 'alice:one');
      fails('watch x', /permission denied/, 'alice:one');
      fails('lease list', /user name is empty/);
    });

    it('changes users and roles, and disables auth', () => {
      prints('user passwd alice --interactive=false', 'Password updated\n', 'root:pw', 'three\n');
      fails('get r', /invalid user ID or password/, 'alice:one');
      prints('get r', '', 'alice:three');
      prints(
        'role revoke-permission writer r',
        /Permission of key r is revoked from role writer\n/,
        'root:pw',
      );
      fails('get r', /permission denied/, 'alice:three');
      prints('user revoke-role alice writer', 'Role writer is revoked from user alice\n', 'root:pw');
      fails('put w/a 1', /permission denied/, 'alice:three');
      prints('user delete bob', 'User bob deleted\n', 'root:pw');
      fails('user delete root', /invalid auth management/, 'root:pw');
      prints('auth disable', 'Authentication Disabled\n', 'root:pw');
      prints('put x y', 'OK\n');
      // clientv3 goes on without a token when it hears that auth is not enabled.
      prints('get x', 'x\ny\n', 'root:pw');
    });
  });
}
