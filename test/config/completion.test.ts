import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Flag } from '../../src/main/config/flag.ts';
import { FLAGS } from '../../src/main/config/flags.ts';
import { MAIN, runNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

const ALL: readonly Flag<unknown>[] = Object.values(FLAGS);

/**
 * $1: the directory of _netsy. $2: what is typed before TAB. Prints what zsh, in a terminal of its own, would offer: what
 * its completers give to compadd.
 */
const PRESS_TAB = `
zmodload zsh/zpty
offered=$1/offered finished=$1/finished
zpty shell 'zsh -f -i'
zpty -w shell "offered=$offered; finished=$finished; fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D"
zpty -w shell 'compadd() { local -a found; builtin compadd -O found "$@"; print -rl -- $found >> $offered; builtin compadd "$@" }'
zpty -w shell 'offer() { _main_complete; compstate[insert]=; compstate[list]=; : > $finished }'
zpty -w shell 'zle -C offer complete-word offer; bindkey "^I" offer'
zpty -w -n shell "$2"$'\\t'
for i in {1..200}; do [[ -e $finished ]] && break; sleep 0.1; done
zpty -d shell
sort -u $offered
`;

describe('netsy completion', { timeout: 60_000 }, () => {
  /** What bash would offer after these words. */
  function byBash(...words: string[]): string[] {
    const script = join(temporaryDirectory(), 'netsy.bash');
    writeFileSync(script, runNetsy(['completion', 'bash']).stdout);
    const typed = ['netsy', ...words].map((word) => `'${word}'`).join(' ');
    const run = `source ${script}; COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _netsy; echo "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', run], { encoding: 'utf8' });
    assert.equal(stderr, '');
    return stdout.trim().split(' ');
  }

  /** What zsh offers in a terminal when TAB is pressed; the script lies where its help says to put it. */
  function byZsh(...words: string[]): string[] {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, '_netsy'), runNetsy(['completion', 'zsh']).stdout);
    writeFileSync(join(directory, 'press-tab.zsh'), PRESS_TAB);
    return ran('zsh', ['-f', join(directory, 'press-tab.zsh'), directory, ['netsy', ...words].join(' ')]);
  }

  function byFish(...words: string[]): string[] {
    const script = join(temporaryDirectory(), 'netsy.fish');
    writeFileSync(script, runNetsy(['completion', 'fish']).stdout);
    const run = `source ${script}; complete -C '${['netsy', ...words].join(' ')}'`;
    return ran('fish', ['--no-config', '-c', run]).map((line) => line.split('\t', 1)[0]!);
  }

  function ran(shell: string, words: readonly string[]): string[] {
    // Fish wants a home that it may write to.
    const env = { ...process.env, HOME: temporaryDirectory() };
    const { stdout, stderr } = spawnSync(shell, words, { encoding: 'utf8', env, timeout: 30_000 });
    assert.equal(stderr, '');
    return stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .sort();
  }

  for (const [shell, offered] of Object.entries({ bash: byBash, zsh: byZsh, fish: byFish })) {
    it(`${shell} offers commands, flags of the command, and the words that a flag takes`, {
      skip: missingTools(shell),
    }, () => {
      const flags = ['--snapshot-age', '--snapshot-bytes', '--snapshot-records'];
      assert.deepEqual(offered('--snapshot-').sort(), flags);
      assert.deepEqual(offered('ver'), ['verify']);
      assert.deepEqual(offered('status', '--js'), ['--json']);
      assert.deepEqual(offered('restore', '--to-').sort(), ['--to-revision', '--to-time']);
      assert.deepEqual(offered('--log-format', '').sort(), ['console', 'json']);
      assert.deepEqual(offered('config', 'ch'), ['check']);
      assert.deepEqual(offered('completion', 'z'), ['zsh']);
      assert.deepEqual(offered('--insecure', '--data-d'), ['--data-dir']);
    });
  }

  it('every shell gets every flag of the server and every command', () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, stdout } = runNetsy(['completion', shell]);
      assert.equal(code, 0);
      for (const { name } of ALL) assert.ok(stdout.includes(name), `${shell}: ${name}`);
      for (const name of ['status', 'verify', 'doctor', 'restore']) assert.ok(stdout.includes(name), name);
    }
    assert.equal(runNetsy(['completion', 'tcsh']).code, 1);
  });

  it('a reader that stops early is no error', () => {
    const line = `'${process.execPath}' '${MAIN}' completion fish | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8' });
    assert.deepEqual([stdout.trim().split('\n').pop(), stderr], ['0', '']);
  });
});
