import { execFile, spawnSync } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/**
 * The tests' peers that are written in Go, built from the modules in `test/go` (versions pinned by their go.sum)
 * and kept in the user's cache directory under the hash of their sources, so that each is built once.
 */

const run = promisify(execFile);

const GO = 'go';

export type GoToolName =
  | 'versitygw'
  | 'etcd'
  | 'etcdctl'
  | 'etcdutl'
  | 'grpcurl'
  | 'recipes'
  | 'kine'
  | 't4'
  | 'k6'
  | 'kube-apiserver'
  | 'kubectl';

interface GoTool {
  /** Of its Go module, below `test/go`. */
  readonly module: string;
  readonly package: string;
  readonly flags: readonly string[];
  /** Besides `CGO_ENABLED=0`. */
  readonly environment?: Readonly<Record<string, string>>;
}

const KUBERNETES_FLAGS = ['-ldflags', '-s -w -X k8s.io/component-base/version.gitVersion=v1.37.1'];

const TOOLS: Readonly<Record<GoToolName, GoTool>> = {
  versitygw: { module: '.', package: 'github.com/versity/versitygw/cmd/versitygw', flags: [] },
  etcd: { module: '.', package: './cmd/etcd', flags: [] },
  etcdctl: { module: '.', package: 'go.etcd.io/etcd/etcdctl/v3', flags: [] },
  etcdutl: { module: '.', package: 'go.etcd.io/etcd/etcdutl/v3', flags: [] },
  grpcurl: { module: '.', package: 'github.com/fullstorydev/grpcurl/cmd/grpcurl', flags: [] },
  recipes: { module: '.', package: './cmd/recipes', flags: [] },
  // As kine's releases are built: with SQLite itself, which needs a C compiler.
  kine: {
    module: 'kine',
    package: 'github.com/k3s-io/kine',
    flags: [],
    environment: { CGO_ENABLED: '1', CGO_CFLAGS: '-DSQLITE_USE_ALLOCA=1' },
  },
  t4: { module: 't4', package: 'github.com/t4db/t4/cmd/t4', flags: [] },
  k6: { module: 'k6', package: 'go.k6.io/k6', flags: [] },
  'kube-apiserver': { module: 'kube', package: './cmd/kube-apiserver', flags: KUBERNETES_FLAGS },
  kubectl: { module: 'kube', package: './cmd/kubectl', flags: KUBERNETES_FLAGS },
};

/**
 * The path of the tool, built first if need be; rejects when Go is missing or the build fails. Tests skip for want
 * of Go with `missingTools('go')`, which fails instead of skipping with CI=true.
 */
export async function requireTool(name: GoToolName): Promise<string> {
  const path = await goTool(name);
  if (path === undefined) throw new Error(`${name} must be built, which needs go: install it`);
  return path;
}

/**
 * For node:test's `skip`, of a tool whose build takes minutes: why a test that needs it can't run here, or false if it
 * can. With CI=true it is built, however long that takes.
 */
export function missingBuild(name: GoToolName): string | false {
  if (process.env['CI'] === 'true' || existsSync(binaryOf(name))) return false;
  return `needs ${name}, which is not built here: node dist/test/support/build-tools.js ${name}`;
}

function binaryOf(name: GoToolName): string {
  const tool = TOOLS[name];
  return join(cacheDirectory(), hashOf(join(goDirectory(), tool.module), tool), name);
}

/** The path of the tool, built first if need be; undefined when it must be built and Go is missing. */
async function goTool(name: GoToolName): Promise<string | undefined> {
  const tool = TOOLS[name];
  const binary = binaryOf(name);
  if (existsSync(binary)) return binary;
  if (missingGo()) return undefined;
  await mkdir(dirname(binary), { recursive: true });
  await whileLocked(`${binary}.lock`, async () => {
    if (!existsSync(binary)) await build(tool, join(goDirectory(), tool.module), binary);
  });
  return binary;
}

async function build(tool: GoTool, module: string, binary: string): Promise<void> {
  const unfinished = `${binary}.${process.pid}`;
  const command = ['build', '-trimpath', ...tool.flags, '-o', unfinished, tool.package];
  const environment = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', ...tool.environment };
  await run(GO, command, { cwd: module, env: environment, maxBuffer: 64 * 1024 * 1024 });
  await rename(unfinished, binary);
}

function missingGo(): boolean {
  return spawnSync(GO, ['version']).status !== 0;
}

/** The sources are not compiled with the tests, so they are looked for upwards from here, then from where we are. */
function goDirectory(): string {
  for (
    let directory = import.meta.dirname;
    dirname(directory) !== directory;
    directory = dirname(directory)
  ) {
    const candidate = join(directory, 'test', 'go');
    if (existsSync(join(candidate, 'go.mod'))) return candidate;
  }
  return join(process.cwd(), 'test', 'go');
}

function cacheDirectory(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'netsy-test-tools');
}

function hashOf(module: string, tool: GoTool): string {
  const hash = createHash('sha256').update(JSON.stringify(tool));
  for (const name of ['go.mod', 'go.sum']) hash.update(readFileSync(join(module, name)));
  // A tool of our own is built from its folder; one of somebody else's from what go.sum pins.
  if (tool.package.startsWith('.')) hashSources(join(module, tool.package), hash);
  return hash.digest('hex').slice(0, 16);
}

function hashSources(directory: string, hash: Hash): void {
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const path of paths.sort()) hash.update(readFileSync(path));
}

/**
 * Runs `action` while this process alone has the lock directory `path`. A lock whose process is gone is taken
 * away by renaming it, which only one of those who wait can do.
 */
async function whileLocked(path: string, action: () => Promise<void>): Promise<void> {
  while (!(await take(path))) {
    if (await isStale(path)) await discard(path);
    else await sleep(200);
  }
  try {
    await action();
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await mkdir(path);
  } catch {
    return false;
  }
  await writeFile(join(path, 'pid'), String(process.pid));
  return true;
}

const PID_WRITTEN_WITHIN_MS = 10_000;

async function isStale(path: string): Promise<boolean> {
  const pid = Number(await readFile(join(path, 'pid'), 'utf8').catch(() => '0'));
  if (pid > 0) return !isAlive(pid);
  const made = await stat(path).catch(() => undefined);
  return made !== undefined && Date.now() - made.mtimeMs > PID_WRITTEN_WITHIN_MS;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function discard(path: string): Promise<void> {
  const aside = `${path}.stale-${process.pid}`;
  await rename(path, aside).catch(() => undefined);
  await rm(aside, { recursive: true, force: true });
}
