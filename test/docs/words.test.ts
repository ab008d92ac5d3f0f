import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { documentation, ROOT, readPage } from './markdown.ts';
import { checkNetsy, checkScripts, ourFlags } from './parsed.ts';

/** Commands within sentences and tables, and flags wherever they are named: they exist. */

/** Commands of others' programs, and of ours that a sentence says more of: where they are run, or why they aren't. */
const ELSEWHERE: readonly (readonly [command: RegExp, where: string])[] = [
  [/^etcdctl |^auth enable$/, 'test/clients/etcdctl.test.ts runs every verb'],
  [/^etcdutl snapshot /, 'test/moving/out.test.ts'],
  [/^grpcurl -plaintext 127\.0\.0\.1:2379 list$/, 'test/e2e/health-reflection.test.ts'],
  [/^promtool test rules netsy-alerts\.test\.yml$/, 'test/ops/alerts.test.ts'],
  [/^npm (?:pack|install|install --global netsy-0\.1\.0\.tgz)$/, 'test/e2e/packed.test.ts, without --global'],
  [/^npm start$|^npm test$/, 'test/docs/commands.test.ts, .ci/run'],
  [/^\.ci\/run$/, 'what runs these tests'],
  [/^kine --endpoint /, 'test/docs/page-trials.ts, on another path'],
  [/^kube-apiserver |^k3s /, 'not run: npm run kube runs a kube-apiserver; k3s is not at hand'],
  [/^kubeadm |^systemctl start$/, 'docs/testing.md says what was run by hand'],
  [/^systemd-analyze /, 'test/e2e/deployment-files.test.ts'],
  [/^aws /, 'not run: AWS is not at hand'],
  [/^gcloud /, 'not run: Google Cloud is not at hand'],
];
/** With words after it: a name alone is no command. */
const PROGRAM =
  /^(?:\.ci\/run$|(?:netsy|npm|npx|node|etcdctl|etcdutl|grpcurl|promtool|curl|kine|k3s|kubeadm|kubectl|kube-apiserver|docker|helm|systemctl|systemd-analyze|journalctl|aws|gcloud|gsutil|apt|apt-get|export|sudo|openssl)\s)/;

/** Flags of other programs, and of netsy's that were left out on purpose. */
const FOREIGN = new Set([
  // etcd's, which netsy does not have; docs/compatibility.md, security.md and gateway.md say so.
  ...['--auto-tls', '--cors', '--host-whitelist', '--grpc-keepalive-min-time', '--peer-cert-allowed-cn'],
  // etcdctl and etcdutl
  ...['--endpoints', '--cacert', '--cert', '--key', '--prefix'],
  // kube-apiserver, k3s
  ...['--etcd-servers', '--etcd-cafile', '--etcd-certfile', '--etcd-keyfile', '--etcd-compaction-interval'],
  ...['--etcd-healthcheck-timeout', '--etcd-readycheck-timeout', '--etcd-prefix', '--watch-cache'],
  '--encryption-provider-config',
  // docker, buildah
  ...['--stop-timeout', '--format', '--tmpfs'],
  ...['--datastore-endpoint', '--datastore-cafile', '--datastore-certfile', '--datastore-keyfile'],
  ...['--cluster-init', '--endpoint', '--wal-sync-upload'],
  // node
  '--enable-source-maps',
  // npm; etcd's own metrics; any flag
  ...['--global', '--omit', '--package-lock-only', '--ignore-scripts', '--provenance', '--metrics', '--flag'],
]);

const pages = documentation();
const ours = ourFlags();

function isKnown(flag: string): boolean {
  if (ours.has(flag) || FOREIGN.has(flag)) return true;
  // `--snapshot-*` stands for several.
  return flag.endsWith('-') && [...ours].some((one) => one.startsWith(flag));
}

function problemWith(command: string): string | undefined {
  if (!PROGRAM.test(command) || ELSEWHERE.some(([known]) => known.test(command))) return undefined;
  try {
    if (command.startsWith('netsy')) checkNetsy(command);
    else if (command.startsWith('npm')) checkScripts(command);
    else {
      const [, program] = /^node (\S+\.c?js)\b/.exec(command) ?? [];
      assert.ok(program !== undefined && existsSync(join(ROOT, program)), 'it is in no table of test/docs');
    }
  } catch (error) {
    return `${command}: ${(error as Error).message}`;
  }
  return undefined;
}

describe('what sentences of the documentation name', { timeout: 120_000 }, () => {
  for (const file of pages) {
    it(`${file}: its commands exist`, () => {
      const problems = readPage(file).code.flatMap(({ line, text }) => {
        const problem = problemWith(text);
        return problem === undefined ? [] : [`${file}:${line}: ${problem}`];
      });
      assert.deepEqual(problems, []);
    });

    it(`${file}: its flags exist`, () => {
      const problems = readPage(file).code.flatMap(({ line, text }) =>
        [...text.matchAll(/(?<=^|[\s=])--[a-z][a-z0-9-]*/g)]
          .filter(([flag]) => !isKnown(flag))
          .map(([flag]) => `${file}:${line}: ${flag}`),
      );
      assert.deepEqual(problems, []);
    });
  }

  it('every variable NETSY_… that is named belongs to a flag', () => {
    const named = pages.flatMap((file) => [
      ...readFileSync(join(ROOT, file), 'utf8').matchAll(/NETSY_[A-Z][A-Z0-9_]+/g),
    ]);
    assert.ok(named.length > 0);
    for (const [name] of named) {
      const flag = `--${name.slice('NETSY_'.length).toLowerCase().replaceAll('_', '-')}`;
      assert.ok(ours.has(flag), name);
    }
  });
});
