import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { productionFiles } from './lockfile.ts';

/** What is read of a bill of materials in CycloneDX's form. */
export interface Sbom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly metadata: { readonly component: SbomComponent };
  readonly components: readonly SbomComponent[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
}

interface SbomComponent {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly {
    readonly license?: { readonly id?: string };
    readonly expression?: string;
  }[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/**
 * The bill of materials of an installation without development, as CycloneDX in JSON: `npm sbom` on the lockfile,
 * from which the packages of development are taken first. With its own `--omit dev` npm 11 leaves out also what
 * both need, grpc-js among it. Throws what npm says if it fails.
 */
export function makeSbom(): string {
  return npmInProduction(
    'sbom',
    '--sbom-format',
    'cyclonedx',
    '--sbom-type',
    'application',
    '--package-lock-only',
  );
}

/**
 * What npm writes to standard output, run beside a package.json and package-lock.json without development. Throws
 * what it says if it fails.
 */
export function npmInProduction(...words: readonly string[]): string {
  const parent = mkdtempSync(join(tmpdir(), 'netsy-supply-'));
  // npm names the whole after its directory.
  const directory = join(parent, 'netsy');
  try {
    mkdirSync(directory);
    const { manifest, lockfile } = productionFiles();
    writeFileSync(join(directory, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(directory, 'package-lock.json'), JSON.stringify(lockfile));
    return execFileSync('npm', words, {
      cwd: directory,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
}
