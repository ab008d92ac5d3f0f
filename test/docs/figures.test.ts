import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { documentation, ROOT } from './markdown.ts';

/**
 * Who says how fast netsy is refers to "Where it stands" in docs/performance.md: a paragraph that links there takes its
 * figures from there, and each of them must stand there. So neither is changed alone.
 */

const SOURCE = 'docs/performance.md';
const HEADING = '## Where it stands';
const LINK = /\]\((?:docs\/|(?:\.\.\/)*)performance\.md#where-it-stands\)/;

/** Figures in such paragraphs that are no measurements: where they are said in full. */
const ELSEWHERE: readonly { readonly figure: string; readonly file: string; readonly says: string }[] = [
  { figure: '8 to 13', file: 'docs/failure-modes.md', says: 'within 8 to 13 s' },
];

/** `p99 49.5 ms`, `2,000 creates`, `500 at once`, `1.63 times`: a number, what it is of before it, what it counts after it. */
const FIGURE = /(?<![\w.,])(?<of>p\d+ )?(?<number>\d[\d,]*(?:\.\d+)?)(?: (?<unit>[a-zµ]+(?: once)?)|(?=\W))/g;

interface Figure {
  readonly of: string;
  readonly number: string;
  readonly unit: string;
  /** Its sentence says with how many requests at once it was taken. */
  readonly atOnce: string | undefined;
}

function figuresIn(text: string): Figure[] {
  return text.split(/(?<=[.:;]) (?=[A-Z])/).flatMap((sentence) =>
    [...sentence.matchAll(FIGURE)].map(({ groups }) => ({
      of: groups!['of'] ?? '',
      number: groups!['number']!,
      unit: groups!['unit'] ?? '',
      atOnce: /([\d,]+) at once/.exec(sentence)?.[1],
    })),
  );
}

/** One line of each paragraph that refers to the figures, its links without their targets. */
function paragraphs(page: string): string[] {
  return page
    .split(/\n\s*\n/)
    .filter((paragraph) => LINK.test(paragraph))
    .map((paragraph) => paragraph.replaceAll(/\]\([^)]*\)/g, ']').replaceAll(/\s+/g, ' '));
}

interface Standing {
  /** Sentences, on one line. */
  readonly prose: string;
  /** The cells of each row of its tables. */
  readonly rows: readonly (readonly string[])[];
}

function standing(page: string): Standing {
  const [, section = ''] = page.split(`\n${HEADING}\n`);
  const lines = section.split(/\n## /)[0]!.split('\n');
  const isRow = (line: string): boolean => line.startsWith('|');
  return {
    prose: lines
      .filter((line) => !isRow(line))
      .join(' ')
      .replaceAll(/\s+/g, ' '),
    rows: lines.filter(isRow).map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    ),
  };
}

/** Words stand in the sentences as they do here; a rate is that of netsy in a row of its own kind; a ratio is its last cell. */
function isThere({ of, number, unit, atOnce }: Figure, { prose, rows }: Standing): boolean {
  const words = `${of}${number}${unit === '' ? '' : ` ${unit}`}`;
  const whole = new RegExp(`(?<![\\d.,])${words.replaceAll('.', '\\.')}(?![\\w]|[.,]\\d)`);
  if (whole.test(prose)) return true;
  if (of !== '' || unit === '') return false;
  return rows.some(([name = '', netsy, ...rest]) => {
    if (unit === 'times') return rest.at(-1) === number;
    if (whole.test(name)) return true;
    const names = (word: string): boolean => new RegExp(`\\b${word}\\b`).test(name);
    return netsy === number && names(unit) && (atOnce === undefined || names(atOnce));
  });
}

/** The figures of `page` that `source` has not. */
function strangers(page: string, source: string): string[] {
  const there = standing(source);
  return paragraphs(page).flatMap((paragraph) => {
    const own = ELSEWHERE.reduce((text, { figure }) => text.replaceAll(figure, ''), paragraph);
    return figuresIn(own)
      .filter((figure) => !isThere(figure, there))
      .map(({ of, number, unit }) => `${of}${number} ${unit}`.trim());
  });
}

/** Another figure of as many digits. */
function other(number: string): string {
  return number.replace(/\d(?=\D*$)/, (digit) => String((Number(digit) + 1) % 10));
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

describe('figures that a page takes from docs/performance.md', () => {
  const source = read(SOURCE);
  const pages = documentation().filter((file) => paragraphs(read(file)).length > 0);

  it('README has some', () => {
    assert.ok(pages.includes('README.md'), `README.md does not link to "${HEADING}" of ${SOURCE}`);
    const figures = paragraphs(read('README.md')).flatMap(figuresIn);
    for (const unit of ['ms', 'creates', 'gets'])
      assert.ok(
        figures.some((figure) => figure.unit === unit),
        unit,
      );
  });

  for (const file of pages) {
    it(`${file}: each stands in "Where it stands" too`, () => {
      assert.deepEqual(strangers(read(file), source), [], `${file} says what ${SOURCE} does not`);
    });

    it(`${file}: one that is changed there alone, or in ${SOURCE} alone, is found`, () => {
      const page = read(file);
      for (const paragraph of page.split(/\n\s*\n/).filter((one) => LINK.test(one))) {
        const own = ELSEWHERE.reduce((text, { figure }) => text.replaceAll(figure, ''), paragraph);
        for (const { number } of figuresIn(own.replaceAll(/\]\([^)]*\)/g, ']'))) {
          const alone = new RegExp(`(?<![\\d.,p])${number.replaceAll('.', '\\.')}(?![\\d]|[.,]\\d)`, 'g');
          const changed = paragraph.replaceAll(alone, other(number));
          assert.notDeepEqual(strangers(page.replace(paragraph, changed), source), [], `${file}: ${number}`);
          const [before = '', after = ''] = source.split(HEADING);
          const there = `${before}${HEADING}${after.replaceAll(alone, other(number))}`;
          assert.notDeepEqual(strangers(page, there), [], `${SOURCE}: ${number}`);
        }
      }
    });
  }

  it('each that is said in full elsewhere is said there', () => {
    for (const { figure, file, says } of ELSEWHERE) {
      assert.ok(says.includes(figure) && read(file).includes(says), `${file}: ${says}`);
      assert.ok(
        pages.some((page) => paragraphs(read(page)).some((one) => one.includes(figure))),
        figure,
      );
    }
  });

  it('the ratios of the table are those of its figures', () => {
    const numberIn = (cell = ''): number => Number(/[\d,]+$/.exec(cell)?.[0].replaceAll(',', ''));
    const compared = standing(source).rows.filter((cells) => /^\d+\.\d\d$/.test(cells[3] ?? ''));
    assert.ok(compared.length > 0);
    for (const [name, netsy, beside, ratio] of compared)
      assert.equal((numberIn(netsy) / numberIn(beside)).toFixed(2), ratio, name);
  });
});
