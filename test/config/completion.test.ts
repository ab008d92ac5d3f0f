import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type CompletedCommand, completionScript } from '../../src/main/config/completion.ts';
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

type Shell = 'bash' | 'zsh' | 'fish';

/** Commands whose words mean something to shells. */
const ODD: readonly CompletedCommand[] = [
  { name: '', help: 'serves', flags: ['--odd', '--oddly'].map(oddFlag), words: [] },
  {
    name: 'do',
    help: "what's [it]: $x `y`",
    flags: ['--often', '--old'].map(oddFlag),
    words: ['one', 'only'],
  },
];

function oddFlag(name: string): CompletedCommand['flags'][number] {
  const help = 'it\'s [a]: \\ (b) $c `d` "e"';
  return { name, help, takesValue: false, mayLack: false, values: [], isPath: false };
}

describe('netsy completion', { timeout: 120_000 }, () => {
  /** As netsy prints them. */
  const scripts = new Map<Shell, string>();
  /** Where the shells are: a directory with one file. */
  const cwd = temporaryDirectory();
  writeFileSync(join(cwd, 'some.netsy'), '');

  function printed(shell: Shell): string {
    const script = scripts.get(shell) ?? runNetsy(['completion', shell]).stdout;
    scripts.set(shell, script);
    return script;
  }

  /** What bash would offer after these words. */
  function byBash(words: readonly string[], text = printed('bash')): string[] {
    const script = join(temporaryDirectory(), 'netsy.bash');
    writeFileSync(script, text);
    const typed = ['netsy', ...words].map((word) => `'${word}'`).join(' ');
    const run = `source ${script}; COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _netsy; echo "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', run], { encoding: 'utf8', cwd });
    assert.equal(stderr, '');
    return stdout.split(/\s+/).filter((word) => word !== '');
  }

  /** What zsh offers in a terminal when TAB is pressed; the script lies where its help says to put it. */
  function byZsh(words: readonly string[], text = printed('zsh')): string[] {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, '_netsy'), text);
    writeFileSync(join(directory, 'press-tab.zsh'), PRESS_TAB);
    return ran('zsh', ['-f', join(directory, 'press-tab.zsh'), directory, ['netsy', ...words].join(' ')]);
  }

  function byFish(words: readonly string[], text = printed('fish')): string[] {
    const script = join(temporaryDirectory(), 'netsy.fish');
    writeFileSync(script, text);
    const run = `source ${script}; complete -C '${['netsy', ...words].join(' ')}'`;
    return ran('fish', ['--no-config', '-c', run]).map((line) => line.split('\t', 1)[0]!);
  }

  function ran(shell: string, words: readonly string[]): string[] {
    // Fish wants a home that it may write to.
    const env = { ...process.env, HOME: temporaryDirectory() };
    const { stdout, stderr } = spawnSync(shell, words, { encoding: 'utf8', cwd, env, timeout: 30_000 });
    assert.equal(stderr, '');
    return stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .sort();
  }

  const shells = { bash: byBash, zsh: byZsh, fish: byFish };
  for (const [shell, by] of Object.entries(shells)) {
    const offered = (...words: string[]): string[] => by(words).sort();
    const skip = missingTools(shell);

    it(`${shell} offers commands, flags of the command, and the words that a flag takes`, { skip }, () => {
      const flags = ['--snapshot-age', '--snapshot-bytes', '--snapshot-records'];
      assert.deepEqual(offered('--snapshot-'), flags);
      assert.deepEqual(offered('ver'), ['verify']);
      assert.deepEqual(offered('status', '--js'), ['--json']);
      assert.deepEqual(offered('restore', '--to-'), ['--to-revision', '--to-time']);
      assert.deepEqual(offered('--log-format', ''), ['console', 'json']);
      assert.deepEqual(offered('config', 'ch'), ['check']);
      assert.deepEqual(offered('completion', 'z'), ['zsh']);
      assert.deepEqual(offered('--insecure', '--data-d'), ['--data-dir']);
    });

    it(`${shell} offers nothing that is another command's`, { skip }, () => {
      assert.deepEqual(offered('--to-'), []);
      assert.deepEqual(offered('status', '--to-'), []);
      assert.deepEqual(offered('status', 'ver'), []);
      assert.deepEqual(offered('status', '--listen-c'), []);
    });

    it(`${shell} offers files where a flag or a command takes one`, { skip }, () => {
      for (const words of [['--cert-file'], ['inspect'], ['status', '--s3-ca-file']])
        assert.deepEqual(offered(...words, 'so'), ['some.netsy'], words[0]);
    });

    it(`${shell} takes words of help that mean something to it`, { skip }, () => {
      const script = completionScript(shell as Shell, ODD);
      const offeredOdd = (...words: string[]): string[] => by(words, script).sort();
      assert.deepEqual(offeredOdd('--od'), ['--odd', '--oddly']);
      assert.deepEqual(offeredOdd('--odd', '--oddl'), ['--oddly']);
      assert.deepEqual(offeredOdd('d'), ['do']);
      assert.deepEqual(offeredOdd('do', '--o'), ['--often', '--old']);
      assert.deepEqual(offeredOdd('do', 'on'), ['one', 'only']);
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
    // It has ended long before there is something to read.
    const line = `'${process.execPath}' '${MAIN}' completion fish | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8' });
    assert.deepEqual([stdout.trim(), stderr], ['0', '']);
  });
});
