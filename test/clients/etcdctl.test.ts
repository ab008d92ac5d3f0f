import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Both } from '../concurrency/both.ts';
import { requireTool } from '../support/go-tools.ts';
import { missingTools } from '../support/tools.ts';
import { Etcdctl, type Ran } from './etcdctl.ts';
import { VERBS, type Verb } from './etcdctl-verbs.ts';

const run = promisify(execFile);

const VERSIONS = [
  { name: 'etcdctl 3.7', tools: ['go'], modern: true, find: () => requireTool('etcdctl') },
  { name: "Debian's etcdctl 3.4", tools: ['go', 'etcdctl'], modern: false, find: async () => 'etcdctl' },
];

function skipOf({ skipped, modern }: Verb, version: { modern: boolean }): string | false {
  return skipped ?? (modern && !version.modern ? 'not in 3.4' : false);
}

/** Every verb prints and ends the same at our server and at a real etcd. */
for (const version of VERSIONS) {
  const skip = missingTools(...version.tools);
  describe(`every verb of ${version.name}`, { timeout: 300_000, skip }, () => {
    const both = new Both();
    let command: string;

    before(async () => {
      command = await version.find();
    });

    for (const verb of VERBS) {
      it(`${verb.verb}: ${verb.checked}`, { timeout: 60_000, skip: skipOf(verb, version) }, async () => {
        const say = async ({ authority }: { authority: string }): Promise<readonly Ran[]> => {
          const ctl = new Etcdctl(command, authority, version.modern);
          await verb.run?.(ctl);
          return ctl.ran;
        };
        if (verb.own === undefined) await both.see(say);
        else assert.match((await say(both.peers[0]!)).map(({ out, err }) => out + err).join(''), verb.own);
      });
    }
  });
}

/** The verbs that `help` lists, with those below them. */
async function verbsOf(command: string, above: readonly string[] = []): Promise<string[]> {
  const { stdout } = await run(command, [...above, '--help']);
  const words = [...stdout.matchAll(/^ {2}([a-z][a-z-]*) +\S/gm)].map(([, word]) => word!);
  // Its own name is there too, in the lines that say how it is used.
  const listed = words.filter((word) => word !== 'etcdctl');
  if (listed.length === 0) return [above.join(' ')];
  return (await Promise.all(listed.map((verb) => verbsOf(command, [...above, verb])))).flat();
}

it('the table has every verb of etcdctl 3.7', { timeout: 300_000, skip: missingTools('go') }, async () => {
  const verbs = await verbsOf(await requireTool('etcdctl'));
  assert.deepEqual(verbs.sort(), VERBS.map(({ verb }) => verb).sort());
});
