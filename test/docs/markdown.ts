import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What the tests of the documentation read of a Markdown file. */

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A fenced block. */
export interface Block {
  /** Relative to the repository: `docs/s3.md`. */
  readonly file: string;
  /** Of its opening fence, from 1. */
  readonly line: number;
  /** `sh`, `json`, or empty. */
  readonly language: string;
  readonly text: string;
  /**
   * `docs/s3.md#permissions`, or `docs/s3.md#permissions 2` for the second below that heading: it stays when the
   * block's own words change.
   */
  readonly place: string;
}

interface Span {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** Every Markdown file that git knows or would take. */
export function markdownFiles(): string[] {
  const words = ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'];
  const listed = execFileSync('git', words, { cwd: ROOT, encoding: 'utf8' });
  return listed.trim().split('\n').sort();
}

/** Those for users: what is in a package, less why things are as they are. */
export function documentation(): string[] {
  return markdownFiles().filter((file) => /^(?:README\.md|docs\/)/.test(file));
}

interface Page {
  readonly blocks: readonly Block[];
  /** As GitHub makes them of headings. */
  readonly anchors: ReadonlySet<string>;
  /** Code between backticks, and everything else, outside of fenced blocks. */
  readonly code: readonly Span[];
  readonly prose: readonly Span[];
}

export function readPage(file: string): Page {
  const blocks: Block[] = [];
  const prose: Span[] = [];
  const anchors = new Map<string, number>();
  const below = new Map<string, number>();
  let heading = '';
  let open: { fence: string; line: number; language: string; lines: string[] } | undefined;
  for (const [index, text] of readFileSync(join(ROOT, file), 'utf8').split('\n').entries()) {
    const line = index + 1;
    const [, fence, language = ''] = /^\s*(`{3,}|~{3,})\s*(\S*)/.exec(text) ?? [];
    if (open !== undefined) {
      if (text.trim() !== open.fence) open.lines.push(text);
      else {
        const base = `${file}#${heading}`;
        const nth = (below.get(base) ?? 0) + 1;
        below.set(base, nth);
        const place = nth === 1 ? base : `${base} ${nth}`;
        blocks.push({ file, line: open.line, language: open.language, text: open.lines.join('\n'), place });
        open = undefined;
      }
    } else if (fence !== undefined) open = { fence, line, language, lines: [] };
    else {
      prose.push({ file, line, text });
      const [, title] = /^#+\s+(.*)$/.exec(text) ?? [];
      if (title !== undefined) heading = anchorOf(title, anchors);
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: the block is never closed`);
  return { blocks, anchors: new Set(anchors.keys()), code: prose.flatMap(codeIn), prose: prose.map(without) };
}

function anchorOf(title: string, anchors: Map<string, number>): string {
  const plain = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
  const base = plain.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
  const before = anchors.get(base);
  anchors.set(base, (before ?? 0) + 1);
  const anchor = before === undefined ? base : `${base}-${before}`;
  if (before !== undefined) anchors.set(anchor, 1);
  return anchor;
}

const CODE = /`([^`]+)`/g;

function codeIn({ file, line, text }: Span): Span[] {
  return [...text.matchAll(CODE)].map(([, code]) => ({ file, line, text: code! }));
}

function without({ file, line, text }: Span): Span {
  return { file, line, text: text.replaceAll(CODE, '') };
}
