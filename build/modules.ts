import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * A compiled module, taken apart for a bundle. What the compiler writes of our sources is regular: a statement that
 * imports or exports begins a line and ends on it. Whatever else is found there is refused, so that nothing is lost in
 * silence. Modules of ours import each other in no circle (biome.json) and export no `let`, so that what is imported
 * can be read once, when the importing module begins.
 */
export interface CompiledModule {
  readonly file: string;
  /** The body of a function that does what the module does and returns what it exports, line for line. */
  readonly body: string;
  /** Modules of ours, those too that are loaded when they are needed. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  /** What it takes of modules of ours: theirs, by name. */
  readonly taken: readonly { readonly from: string; readonly name: string }[];
}

/** What modules are called within a bundle. */
export interface Names {
  /** An expression for what the module of ours exports. */
  module(file: string): string;
  /** An expression for a promise of it. */
  lazyModule(file: string): string;
  /** An expression for what Node or a package exports, which is its default export too. */
  external(specifier: string): string;
  /** An expression for the module's own URL. */
  url(file: string): string;
}

const STATEMENT = /^(?:import|export)\b/;
const IMPORT = /^import (?:(?<clause>[^'"]+) from )?(?<quote>['"])(?<from>[^'"]+)\k<quote>;$/;
const DYNAMIC_IMPORT = /\bimport\((?<quote>['"])(?<from>\.[^'"]+)\k<quote>\)/g;
/** An `enum` is compiled to a `var`. */
const DECLARATION =
  /^export (?<isDefault>default )?(?<rest>(?:async )?(?:function\*?|class|const|var) (?<name>[\w$]+)\b.*)$/;
const LIST = /^export \{(?<names>[^}]*)\}(?: from '(?<from>\.[^']+)')?;$/;

interface Parts {
  readonly imports: Set<string>;
  readonly taken: { from: string; name: string }[];
  /** Name by name, an expression for what is exported. */
  readonly exported: Map<string, string>;
}

export function readModule(file: string, names: Names): CompiledModule {
  const parts: Parts = { imports: new Set(), taken: [], exported: new Map() };
  const lines = readFileSync(file, 'utf8')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    .split('\n')
    .map((line) => (STATEMENT.test(line) ? statement(line, file, parts, names) : line))
    .map((line) => withoutLoader(line, file, parts, names));
  const { imports, exported } = parts;
  const shown = [...exported].map(([name, local]) => (name === local ? name : `${name}: ${local}`));
  return {
    file,
    body: `${lines.join('\n')}return { ${shown.join(', ')} };`,
    imports: [...imports],
    exports: [...exported.keys()],
    taken: parts.taken,
  };
}

function statement(line: string, file: string, parts: Parts, names: Names): string {
  const imported = IMPORT.exec(line)?.groups;
  if (imported !== undefined) return importing(imported['clause'], imported['from']!, file, parts, names);
  const declared = DECLARATION.exec(line)?.groups;
  if (declared !== undefined) {
    parts.exported.set(
      declared['isDefault'] === undefined ? declared['name']! : 'default',
      declared['name']!,
    );
    return declared['rest']!;
  }
  const list = LIST.exec(line)?.groups;
  if (list === undefined) throw new Error(`${file}: a bundle can't have this statement: ${line}`);
  const from = list['from'];
  const passedOn = from === undefined ? '' : importing(undefined, from, file, parts, names).replace(';', '');
  for (const [local, name] of aliases(list['names']!)) {
    if (from !== undefined) parts.taken.push({ from: join(dirname(file), from), name: local });
    parts.exported.set(name, passedOn === '' ? local : `${passedOn}.${local}`);
  }
  return `${passedOn};`;
}

/** `const { a, b: c } = …;` for `import { a, b as c } from …`, and so on. */
function importing(
  clause: string | undefined,
  from: string,
  file: string,
  { imports, taken }: Parts,
  names: Names,
): string {
  const isOurs = from.startsWith('.');
  const target = isOurs ? join(dirname(file), from) : from;
  if (isOurs) imports.add(target);
  const value = isOurs ? names.module(target) : names.external(target);
  if (clause === undefined) return `${value};`;
  const [, standard, all, named] =
    /^(?:([\w$]+)(?:, )?)?(?:\* as ([\w$]+))?(?:\{(.*)\})?$/.exec(clause) ?? [];
  const statements: string[] = [];
  if (standard !== undefined) statements.push(`const ${standard} = ${isOurs ? `${value}.default` : value};`);
  if (all !== undefined) statements.push(`const ${all} = ${value};`);
  if (named !== undefined) {
    const renamed = aliases(named);
    if (isOurs) taken.push(...renamed.map(([name]) => ({ from: target, name })));
    const fields = renamed.map(([name, local]) => (name === local ? name : `${name}: ${local}`));
    statements.push(`const { ${fields.join(', ')} } = ${value};`);
  }
  if (statements.length === 0) throw new Error(`${file}: a bundle can't have this import: ${clause}`);
  return statements.join(' ');
}

/** Of `a, b as c`: a and a, b and c. */
function aliases(list: string): [string, string][] {
  return list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [name, alias = name] = entry.split(' as ');
      return [name!, alias!];
    });
}

function withoutLoader(line: string, file: string, { imports }: Parts, names: Names): string {
  if (!line.includes('import')) return line;
  return line
    .replaceAll(DYNAMIC_IMPORT, (_all, _quote, from: string) => {
      const target = join(dirname(file), from);
      imports.add(target);
      return names.lazyModule(target);
    })
    .replaceAll('import.meta.url', () => names.url(file));
}
