import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { requireTool } from '../support/go-tools.ts';
import { temporaryDirectory } from '../support/netsy.ts';

const run = promisify(execFile);

/** What `etcdutl snapshot status` says, after bbolt's own check of the whole file. */
export interface SnapshotStatus {
  readonly hash: number;
  readonly revision: number;
  readonly totalKey: number;
  readonly totalSize: number;
  readonly version: string;
}

/** `etcdctl snapshot save`; gives the file's path. */
export async function saveSnapshot(endpoint: string): Promise<string> {
  const file = join(temporaryDirectory(), 'snapshot.db');
  await run(await requireTool('etcdctl'), ['--endpoints', endpoint, 'snapshot', 'save', file]);
  return file;
}

export async function snapshotStatus(file: string): Promise<SnapshotStatus> {
  const words = ['snapshot', 'status', file, '-w', 'json'];
  const { stdout } = await run(await requireTool('etcdutl'), words);
  return JSON.parse(stdout) as SnapshotStatus;
}

/** etcd's number for the history in a file. */
export async function fileHashKv(file: string): Promise<object> {
  // The tool opens the file to write.
  const copy = join(temporaryDirectory(), 'hash.db');
  copyFileSync(file, copy);
  const { stdout } = await run(await requireTool('etcdutl'), ['hashkv', copy, '-w', 'json']);
  const { hash, hashRevision, compactRevision } = JSON.parse(stdout) as Record<string, number>;
  return {
    hash,
    compactRevision: BigInt(compactRevision ?? 0),
    hashRevision: BigInt(hashRevision ?? 0),
  };
}

/** `etcdutl snapshot restore`, and an etcd on what it made. */
export async function etcdFrom(file: string): Promise<Etcd> {
  const directory = temporaryDirectory();
  const peer = 'http://127.0.0.1:1';
  await run(await requireTool('etcdutl'), [
    ...['snapshot', 'restore', file, '--data-dir', join(directory, 'data'), '--name', 'peer'],
    ...['--initial-cluster', `peer=${peer}`, '--initial-advertise-peer-urls', peer],
  ]);
  return startEtcd(directory);
}
