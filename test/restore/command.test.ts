import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { parseCommandLine } from '../../src/main/config/command-line.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { decodeHeader } from '../../src/shared/format/decode.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { LogObjects } from '../support/log-objects.ts';
import { runNetsy, startNetsy } from '../support/netsy.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { assertSame, failure, newStore, ranToItsEnd, served, servedFrom } from './tools.ts';

const KEYS = 30;

async function putKeys(authority: string, count: number, value: string): Promise<void> {
  const client = new EtcdClient(authority);
  for (let key = 0; key < count; key++) {
    await client.call(KV.method.put, { key: bytes(`key/${key}`), value: bytes(value) });
  }
  client.close();
}

async function revisionOf(snapshot: string): Promise<number> {
  return decodeHeader(await readFile(snapshot), snapshot).header.snapshot!.revision;
}

describe('netsy restore, as a user meets it', { timeout: 180_000 }, () => {
  let directory: string;
  let store: string;
  const into = newStore();
  const restore = (...words: string[]): string[] => [
    'restore',
    '--store',
    store,
    '--into',
    into.url,
    ...words,
  ];

  before(async () => {
    const netsy = await startNetsy();
    await putKeys(netsy.authority, KEYS, 'value');
    await netsy.stop();
    directory = join(netsy.dataDir, 'store');
    store = pathToFileURL(directory).href;
  });

  it('says what to change, in one line, and writes nothing', () => {
    const refusals: [words: string[], line: RegExp][] = [
      [
        restore('--to-revision', '5000'),
        /revision 5000 is in the future: the log of .* ends at revision 31$/,
      ],
      [
        restore('--to-time', '2001-01-01T00:00:00Z'),
        /is before the log of .* begins: its first chunk is of 20/,
      ],
      [['restore', '--store', store, '--into', store], /--into: .* is the store that is read/],
      [['restore', '--store', newStore().url, '--into', into.url], /there is no directory/],
      [['restore', '--store', into.url, '--into', store], /is not empty \(it holds chunks\//],
    ];
    for (const [words, line] of refusals) assert.match(failure(words), line);
    const unusable: [words: string[], line: RegExp][] = [
      [restore('--to-time', '2026-02-30T00:00:00Z'), /--to-time: .* is not a time; write it as 2026-/],
      [restore('--to-revision', '0'), /--to-revision: "0" is out of range/],
      [
        restore('--to-revision', '5', '--to-time', '2026-01-01T00:00:00Z'),
        /give it or --to-revision, not both/,
      ],
      [restore('--bump-revision', '5'), /--mark-compacted: required if --bump-revision > 0/],
      [
        restore('--mark-compacted'),
        /--mark-compacted: required if --bump-revision > 0, disallowed otherwise/,
      ],
      [['restore', '--store', store], /restore: name the new store with --into/],
      [['restore', '--store', store, '--into', '/tmp/x'], /--into: "\/tmp\/x" is not a store/],
    ];
    for (const [words, line] of unusable) assert.throws(() => parseCommandLine(words, {}), line);
    const { code, stdout } = runNetsy(restore('--dry-run', '--to-revision', '11'));
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^would restore .* as of revision 11, chunk 75, 20.*\ninto .*: revision 11, not compacted\nread 11 records/,
    );
    assert.ok(!existsSync(into.directory));
    assert.match(runNetsy(['restore', '--help']).stdout, /Examples:\n {2}netsy restore/);
  });

  it('a restored store is one like any other: it grows, has snapshots, and is restored again', async () => {
    const { directory: grown, url } = newStore();
    ranToItsEnd(['restore', '--store', store, '--to-revision', '4', '--into', url]);
    const log = new LogObjects(grown);
    const flags = ['--store', url, '--snapshot-age', '1s', '--retention', '0'];
    let netsy = await startNetsy({ arguments: flags });
    await putKeys(netsy.authority, KEYS, 'more');
    while (log.sequences('snapshots').length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    await putKeys(netsy.authority, KEYS, 'and more');
    const wanted = await served(netsy.authority);
    await netsy.kill();
    rmSync(join(netsy.dataDir, 'cache'), { recursive: true });
    netsy = await startNetsy({ dataDir: netsy.dataDir, arguments: flags });
    assertSame(await served(netsy.authority), wanted);
    await netsy.stop();
    const again = newStore().url;
    ranToItsEnd(['restore', '--store', url, '--into', again]);
    assertSame(await servedFrom(again), wanted);

    // Two revisions before the newest snapshot's, where the chunk before it is lost.
    const newest = log.sequences('snapshots').at(-1)!;
    rmSync(log.path('chunks', newest - 1));
    const lost = await revisionOf(log.path('snapshots', newest));
    assert.match(
      failure(['restore', '--store', url, '--to-revision', String(lost - 1), '--into', newStore().url]),
      /^netsy: (that|revision \d+) is inside a gap of file.*: (chunk \d+ is missing|after chunk \d+)/,
    );
  });
});

describe('netsy restore between kinds of stores', { timeout: 180_000 }, () => {
  let gateway: VersityGateway;
  before(async () => {
    gateway = await startVersityGateway({ buckets: ['old', 'new'] });
  });
  after(() => gateway.stop());

  it('from S3 to S3 and to a directory, each told where it is by its URL', async () => {
    const { AWS_ENDPOINT_URL_S3: endpoint, ...environment } = gateway.environment;
    const place = `endpoint=${endpoint}&region=us-east-1&addressing=path`;
    const store = `s3://old/a/b?${place}`;
    const netsy = await startNetsy({ arguments: ['--store', store], environment });
    await putKeys(netsy.authority, KEYS, 'v'.repeat(1000));
    const wanted = await served(netsy.authority);
    const onS3 = `s3://new/prefix?${place}`;
    ranToItsEnd(['restore', '--store', store, '--into', onS3], environment);
    assert.match(failure(['restore', '--store', store, '--into', onS3], environment), /is not empty/);
    assert.match(
      failure(['restore', '--store', store, '--into', `s3://old/a/b/?${place}`], environment),
      /is the store/,
    );
    await netsy.stop();
    assertSame(await servedFrom(onS3, environment), wanted);
    const inDirectory = newStore().url;
    ranToItsEnd(['restore', '--store', onS3, '--into', inDirectory], environment);
    assertSame(await servedFrom(inDirectory), wanted);
  });
});
