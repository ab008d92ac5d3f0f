import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LAUNCHER } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { type Block, documentation, ROOT, readPage } from './markdown.ts';
import { pageTrials } from './page-trials.ts';
import { checkPolicy, checkScripts, checkYaml } from './parsed.ts';
import { readmeTrials } from './readme-trials.ts';
import { commandsOf } from './site.ts';
import { type Trial, World } from './world.ts';

/**
 * Every fenced block of README.md and docs/ is run here, against real programs, or is in one of these tables with what is
 * looked at instead. A new block is in neither, and fails.
 */

/** Commands that are not run here: why not, and what is looked at instead. */
const NOT_RUN: Readonly<Record<string, { readonly why: string; readonly trial: Trial }>> = {
  'README.md#one-minute-to-the-first-key 2': {
    why: 'runs these tests: .ci/run runs this very line',
    trial: async ({ text }) => {
      const script = readFileSync(join(ROOT, '.ci/run'), 'utf8').replaceAll(/ --no-(?:fund|audit)/g, '');
      for (const line of commandsOf(text)) assert.ok(script.split('\n').includes(line), line);
    },
  },
  'README.md#a-kube-apiserver-on-it': {
    why: 'builds kube-apiserver and runs it for minutes',
    trial: async ({ text }) => checkScripts(text),
  },
  'README.md#bench': {
    why: 'takes minutes; test/bench/programs.test.ts runs it for moments',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/benchmarks.md#benchmarks': {
    why: 'takes minutes to hours; test/bench/programs.test.ts runs it for moments',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/operations/deploying.md#a-container': {
    why: 'needs an engine of containers and its base images; docs/testing.md says what was run by hand',
    trial: async ({ text }) => {
      const [, file = ''] = /^docker build -f (\S+)/m.exec(text) ?? [];
      const dockerfile = readFileSync(join(ROOT, file), 'utf8');
      const [, volume = ''] = / -v netsy:(\S+) netsy /.exec(text) ?? [];
      assert.ok(dockerfile.split('\n').includes(`VOLUME ${volume}`), `the image keeps its data in ${volume}`);
    },
  },
  'docs/supply-chain.md#bill-of-materials': {
    why: 'test/supply makes it and compares it with the lockfile',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/supply-chain.md#known-vulnerabilities': {
    why: 'asks a registry what not every registry answers',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/supply-chain.md#the-same-build-twice': {
    why: 'installs all from a registry; test/e2e/packed.test.ts packs',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/tuning.md#curves': {
    why: 'takes a quarter of an hour; test/bench/programs.test.ts runs it for moments',
    trial: async ({ text }) => checkScripts(text),
  },
  'docs/tuning.md#memory': {
    why: 'are variables, which the launcher sets; test/e2e/launcher.test.ts runs it',
    trial: async ({ text }) => {
      const launcher = readFileSync(LAUNCHER, 'utf8');
      for (const [variable, name, value] of text.matchAll(/(\w+)=(\w+)/g))
        assert.ok(launcher.includes(`tell ${name} ${value}\n`), variable);
    },
  },
};

/** What is no command, and not for a program to read. */
const PICTURES: ReadonlySet<string> = new Set([
  'docs/architecture.md#architecture',
  'docs/file-format.md#a-file',
]);

const blocks = documentation().flatMap((file) => readPage(file).blocks);

function trialOf(block: Block, trials: Readonly<Record<string, Trial>>): Trial | undefined {
  if (block.language === 'json') return async ({ text }) => checkPolicy(text);
  if (block.language === 'yaml') return async ({ text }) => checkYaml(text);
  if (PICTURES.has(block.place)) return async () => {};
  return trials[block.place] ?? NOT_RUN[block.place]?.trial;
}

const skip = missingTools('bash', 'curl', 'go', 'jq', 'openssl', 'promtool');

describe('the commands in the documentation', { timeout: 300_000, skip }, () => {
  let world: World;
  let trials: Readonly<Record<string, Trial>> = {};

  before(async () => {
    world = await World.make();
    trials = { ...readmeTrials(world), ...pageTrials(world) };
  });
  after(() => world?.stop());

  for (const block of blocks) {
    const [first = ''] = block.text.split('\n');
    const why = NOT_RUN[block.place]?.why;
    it(`${block.file}:${block.line}: ${first}${why === undefined ? '' : ` (not run: ${why})`}`, async () => {
      const trial = trialOf(block, trials);
      assert.ok(trial, `${block.place} is neither run nor listed: add it to a table of test/docs`);
      try {
        await trial(block);
      } catch (error) {
        // What it left must not be in the way of the next one.
        await world.site.stopAll();
        throw error;
      }
    });
  }

  it('no table has what the documentation has no more', () => {
    const there = new Set(blocks.map(({ place }) => place));
    const named = [...Object.keys(trials), ...Object.keys(NOT_RUN), ...PICTURES];
    assert.deepEqual(
      named.filter((place) => !there.has(place)),
      [],
    );
  });
});
