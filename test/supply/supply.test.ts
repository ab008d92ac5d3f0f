import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryDirectory } from '../support/netsy.ts';
import { type LockedPackage, productionPackages, ROOT, readManifest } from './lockfile.ts';
import { npmInProduction, type Sbom } from './sbom.ts';

/** Licences that let a program under Apache-2.0 be passed on with these packages, asking no more than a notice. */
const ALLOWED = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT'];
const PAGE = readFileSync(join(ROOT, 'docs/supply-chain.md'), 'utf8');

/** Whether an SPDX expression, without nesting, can be met with allowed licences alone. */
function isAllowed(expression: string): boolean {
  const bare = expression.replace(/^\((.*)\)$/, '$1');
  return bare.split(' OR ').some((choice) => choice.split(' AND ').every((one) => ALLOWED.includes(one)));
}

function label({ name, version }: Pick<LockedPackage, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

function sources(directory: string): string {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(directory, file), 'utf8'))
    .join('\n');
}

describe('the supply chain', { timeout: 60_000 }, () => {
  const packages = productionPackages();
  const manifest = readManifest();

  it('licences are judged by what they let us choose', () => {
    const judged = ['MIT', '(MIT OR WTFPL)', '(GPL-3.0-only OR MIT)', '(Apache-2.0 AND BSD-3-Clause)'];
    assert.deepEqual(judged.map(isAllowed), [true, true, true, true]);
    const refused = ['GPL-3.0-only', '(MIT AND GPL-2.0-only)', 'UNLICENSED', '', 'SEE LICENSE IN LICENSE'];
    assert.deepEqual(
      refused.map(isAllowed),
      refused.map(() => false),
    );
  });

  it('every package of an installation has a licence that is on the list', () => {
    assert.ok(packages.length > 50, `${packages.length} packages`);
    const others = packages.filter(({ license }) => !isAllowed(license ?? ''));
    assert.deepEqual(
      others.map((one) => `${label(one)}: ${one.license}`),
      [],
    );
  });

  it('the lockfile holds every package to one content from the registry, none to a link, a repository or a URL', () => {
    const loose = packages.filter(({ integrity, link, resolved, version }) => {
      const fromElsewhere = resolved !== undefined && !/^https:\/\/registry\./.test(resolved);
      return link || fromElsewhere || !/^\d+\.\d+\.\d+/.test(version) || !integrity?.startsWith('sha512-');
    });
    assert.deepEqual(loose.map(label), []);
  });

  it('npm ci takes the lockfile for what package.json asks for', () => {
    npmInProduction('ci', '--dry-run', '--ignore-scripts', '--offline', '--no-audit', '--no-fund');
  });

  it('the page names every dependency and every package that runs something when installed, and no more', () => {
    const rows = [...PAGE.matchAll(/^\| `([^`]+)` /gm)].map(([, name]) => name!);
    assert.deepEqual(rows.sort(), Object.keys(manifest.dependencies).sort());
    const scripts = packages.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name);
    const told = [...PAGE.matchAll(/^- `([^`]+)`/gm)].map(([, name]) => name!);
    assert.deepEqual(told.sort(), scripts.sort());
  });

  it('every dependency is imported by the server', () => {
    const text = sources(join(ROOT, 'src'));
    const unused = Object.keys(manifest.dependencies).filter(
      (name) => !text.includes(`from '${name}`) && !text.includes(`import('${name}`),
    );
    assert.deepEqual(unused, []);
  });

  it('npm run sbom writes a bill of materials: each package of an installation with its licence and hash, no other', () => {
    const file = join(temporaryDirectory(), 'netsy.cdx.json');
    const entry = join(ROOT, 'dist/test/supply/run.js');
    const run = spawnSync(process.execPath, [entry, file], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    const sbom = JSON.parse(readFileSync(file, 'utf8')) as Sbom;
    assert.deepEqual([sbom.bomFormat, sbom.specVersion], ['CycloneDX', '1.5']);
    const { component } = sbom.metadata;
    assert.deepEqual([component.name, component.version], [manifest.name, manifest.version]);
    assert.deepEqual(
      [...new Set(sbom.components.map(label))].sort(),
      [...new Set(packages.map(label))].sort(),
    );
    const bare = sbom.components.filter(({ licenses, hashes, purl }) => {
      const [licence] = licenses ?? [];
      return !isAllowed(licence?.expression ?? licence?.license?.id ?? '') || !hashes?.length || !purl;
    });
    assert.deepEqual(bare.map(label), []);
    const own = sbom.dependencies.find(({ ref }) => ref === label(manifest));
    const direct = own?.dependsOn?.map((name) => name.replace(/@[^@]+$/, ''));
    assert.deepEqual(direct?.sort(), Object.keys(manifest.dependencies).sort());
  });
});
