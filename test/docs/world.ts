import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import type { RunningProcess } from '../support/process.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import type { Block } from './markdown.ts';
import { Site, type Substitution, substitute } from './site.ts';

/** How a block of the documentation is tried; rejects when it does not do what its page says. */
export type Trial = (block: Block) => Promise<void>;

/** The buckets that the documentation writes to, and one more. */
const BUCKETS = ['bucket', 'old-bucket'];

/** What the documentation takes for granted: a site, an S3 server, and an etcd to move from. */
export class World {
  readonly site: Site;
  readonly gateway: VersityGateway;
  readonly #peers: RunningProcess[] = [];

  private constructor(site: Site, gateway: VersityGateway) {
    this.site = site;
    this.gateway = gateway;
  }

  static async make(): Promise<World> {
    return new World(await Site.make(), await startVersityGateway({ buckets: BUCKETS }));
  }

  async stop(): Promise<void> {
    await this.site.stopAll();
    for (const peer of this.#peers) await peer.stop();
    await this.gateway.stop();
  }

  /** An etcd, `http://old:2379`, with a few keys. */
  async oldEtcd(): Promise<Etcd> {
    const etcd = await startEtcd(join(temporaryDirectory(), 'old'));
    this.keep(etcd.process);
    await this.site.run(puts(etcd.endpoint, 'old'));
    return etcd;
  }

  /** Ends a process with this world. */
  keep(peer: RunningProcess): void {
    this.#peers.push(peer);
  }

  /** Whether a bucket has objects below this prefix. */
  hasObjects(bucket: string, prefix: string): boolean {
    return existsSync(join(this.gateway.directory, bucket, prefix));
  }

  /** Makes a store of a few keys by serving on it. */
  async fill(store: string): Promise<void> {
    const server = await this.site.serve(
      `netsy --store ${store} --data-dir '${temporaryDirectory()}'`,
      this.s3,
    );
    await this.site.run(puts(this.site.endpoint, 'filled'));
    await server.stop();
  }

  /** For commands on S3 that name no endpoint. */
  get s3(): { readonly environment: Readonly<Record<string, string>> } {
    return { environment: this.gateway.environment };
  }

  /** Directories of the documentation below our own. */
  local(text: string, ...substitutions: readonly Substitution[]): string {
    return substitute(text, substitutions)
      .replaceAll('/var/lib/netsy', join(this.site.directory, 'var'))
      .replaceAll('/tmp/try', join(this.site.directory, 'tried'))
      .replaceAll('http://127.0.0.1:2379', this.site.endpoint);
  }
}

/** Puts three keys. */
export function puts(endpoint: string, word: string): string {
  return ['a', 'b', 'c']
    .map((key) => `etcdctl --endpoints ${endpoint} put /${key} ${word}-${key}`)
    .join('\n');
}
