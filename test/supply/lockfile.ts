import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root, where package.json and package-lock.json are. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** What package-lock.json says of one installed package. */
interface LockedEntry {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly resolved?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}

export interface LockedPackage extends LockedEntry {
  readonly name: string;
}

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

interface Lockfile {
  readonly packages: Readonly<Record<string, LockedEntry>>;
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as T;
}

export function readManifest(): Manifest {
  return read<Manifest>('package.json');
}

/** What an installation without development has, by the lockfile; on every platform. */
export function productionPackages(): LockedPackage[] {
  const entries = Object.entries(read<Lockfile>('package-lock.json').packages);
  return entries
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path, entry]) => ({ ...entry, name: path.replace(/^.*node_modules\//, '') }));
}

/** package.json and package-lock.json as they would be without development. */
export function productionFiles(): { manifest: Manifest; lockfile: Lockfile } {
  const { devDependencies: _, ...manifest } = readManifest();
  const lockfile = read<Lockfile>('package-lock.json');
  const { devDependencies: __, ...root } = lockfile.packages[''] as LockedEntry & Partial<Manifest>;
  const kept = Object.entries(lockfile.packages).filter(([, { dev }]) => dev !== true);
  return { manifest, lockfile: { ...lockfile, packages: { ...Object.fromEntries(kept), '': root } } };
}
