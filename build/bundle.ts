import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CompiledModule, type Names, readModule } from './modules.ts';

/**
 * The last step of a build: of each thread's modules it makes one file in dist/netsy. To find, read and link some
 * hundred files took most of a start's processor time. What is in node_modules stays there.
 *
 * A module becomes a function that is called once, when the first other one needs it. Node's own modules and packages are
 * taken by `require`, which does less than `import`; of a package without CommonJS a source says `await import()` itself.
 */

const dist = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(dist, 'netsy');
const BESIDE = join(dist, 'bundled');

/** The program, and each of its threads. */
const ENTRIES = [
  'src/main/main.js',
  'src/workers/file.js',
  'src/workers/log-snapshot.js',
  'src/workers/reader.js',
  'src/workers/snapshot.js',
  'src/workers/task.js',
  'src/workers/writer.js',
];

const HEAD = `import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
function once(run) {
  let exports;
  return () => (exports ??= run());
}`;

interface Bundle {
  readonly text: string;
  /** An index of the modules' own source maps; Node wants it to have sources too. */
  readonly map: string;
}

function bundleOf(entry: string, directory: string): Bundle {
  const { modules, nameOf } = modulesOf(entry, directory);
  const chunks = [HEAD];
  const sections: { offset: { line: number; column: 0 }; map: unknown }[] = [];
  let line = HEAD.split('\n').length;
  for (const { file, body } of modules.values()) {
    const text = `const ${nameOf(file)} = once(() => {\n${body}\n});`;
    sections.push({ offset: { line: line + 1, column: 0 }, map: mapOf(file, directory) });
    chunks.push(text);
    line += text.split('\n').length;
  }
  const run = `${nameOf(entry)}()`;
  const hasDefault = modules.get(entry)!.exports.includes('default');
  chunks.push(hasDefault ? `export default ${run}.default;` : `${run};`);
  chunks.push(`//# sourceMappingURL=${basename(entry)}.map`, '');
  return { text: chunks.join('\n'), map: JSON.stringify({ version: 3, sources: [], sections }) };
}

/** The entry and all that it imports, at once or later. */
function modulesOf(
  entry: string,
  directory: string,
): {
  modules: Map<string, CompiledModule>;
  nameOf: (file: string) => string;
} {
  const assigned = new Map<string, string>();
  const nameOf = (file: string): string => {
    const name = assigned.get(file) ?? `$${assigned.size}$${basename(file, '.js').replaceAll(/\W/g, '_')}`;
    assigned.set(file, name);
    return name;
  };
  const names: Names = {
    module: (file) => `${nameOf(file)}()`,
    lazyModule: (file) => `Promise.resolve().then(${nameOf(file)})`,
    external: (specifier) => `require('${specifier}')`,
    url: (file) => `new URL('${relative(directory, file)}', import.meta.url).href`,
  };
  const modules = new Map<string, CompiledModule>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (modules.has(file)) continue;
    const module = readModule(file, names);
    modules.set(file, module);
    waiting.push(...module.imports);
  }
  for (const module of modules.values()) checkTaken(module, modules);
  return { modules, nameOf };
}

/** Throws when a module takes what another one does not export, as it was read: nothing is undefined in silence. */
function checkTaken({ file, taken }: CompiledModule, modules: ReadonlyMap<string, CompiledModule>): void {
  for (const { from, name } of taken) {
    if (!modules.get(from)!.exports.includes(name)) throw new Error(`${file}: ${from} has no ${name}`);
  }
}

/** The compiler's map of a module, with its source's path as seen from the bundle. */
function mapOf(file: string, directory: string): unknown {
  const map = JSON.parse(readFileSync(`${file}.map`, 'utf8')) as { sources: string[] };
  return { ...map, sources: map.sources.map((source) => relative(directory, join(dirname(file), source))) };
}

/** A program that starts meanwhile finds a whole one. */
function replaceFile(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** What else was asked for is bundled beside what is packed. */
const asked = process.argv.slice(2).map((entry) => [entry, BESIDE] as const);
for (const [entry, directory] of [...ENTRIES.map((entry) => [entry, OUT] as const), ...asked]) {
  mkdirSync(directory, { recursive: true });
  const { text, map } = bundleOf(join(dist, entry), directory);
  const out = join(directory, basename(entry));
  replaceFile(`${out}.map`, map);
  replaceFile(out, text);
}
