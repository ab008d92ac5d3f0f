import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import { markdownFiles, ROOT, readPage } from './markdown.ts';

const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

/** What is wrong with the links of a page. Those to other sites are not followed. */
function broken(file: string): string[] {
  return readPage(file).prose.flatMap(({ line, text }) =>
    [...text.matchAll(LINK)].flatMap(([, target]) => {
      const problem = problemWith(file, target!);
      return problem === undefined ? [] : [`${file}:${line}: ${target}: ${problem}`];
    }),
  );
}

function problemWith(file: string, target: string): string | undefined {
  if (/^https?:/.test(target)) return undefined;
  const [path = '', anchor] = target.split('#', 2);
  const wanted = path === '' ? file : normalize(join(dirname(file), path));
  if (wanted.startsWith('..')) return 'is outside of the repository';
  if (!existsSync(join(ROOT, wanted))) return 'is not there';
  if (anchor === undefined) return undefined;
  return readPage(wanted).anchors.has(anchor) ? undefined : `there is no heading "${anchor}" in ${wanted}`;
}

describe('links in the documentation', () => {
  for (const file of markdownFiles()) {
    it(`${file}: every link leads to a file that is there, and to a heading of it`, () => {
      assert.deepEqual(broken(file), []);
    });
  }

  it('every page below docs/ can be reached from the README', () => {
    const reached = new Set<string>();
    const queue = ['README.md'];
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      if (reached.has(file) || !file.endsWith('.md')) continue;
      reached.add(file);
      for (const { text } of readPage(file).prose) {
        for (const [, target] of text.matchAll(LINK)) {
          if (!/^https?:/.test(target!))
            queue.push(normalize(join(dirname(file), target!.split('#', 1)[0]!)));
        }
      }
    }
    const pages = markdownFiles().filter((file) => /^docs\/(?!decisions\/)/.test(file));
    assert.deepEqual(
      pages.filter((page) => !reached.has(page)),
      [],
    );
  });

  it('finds a file that is not there and a heading that is not there', () => {
    assert.equal(problemWith('docs/faq.md', 'nowhere.md'), 'is not there');
    assert.match(problemWith('docs/faq.md', '../README.md#nowhere') ?? '', /no heading/);
    assert.equal(problemWith('docs/faq.md', '../README.md#going-back'), undefined);
  });
});
