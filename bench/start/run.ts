import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Client } from '../../test/crash/client.ts';
import { type Netsy, startNetsy } from '../../test/support/netsy.ts';
import { integer, positive } from '../flags.ts';
import { LogWriter } from './log-writer.ts';
import { sqliteAlone } from './sqlite-alone.ts';

/**
 * `npm run bench-start`: how long a server takes from its start to its first served read, cold (from a snapshot, and
 * from chunks alone) and warm (with a cache that is some chunks behind).
 */

interface Options {
  keys: number;
  valueBytes: number;
  behind: number;
  chunkRecords: number;
  poolThreads: number;
}

const options = new Command('bench-start')
  .option('--keys <count>', 'keys in the store', positive, 1_000_000)
  .option('--value-bytes <count>', 'bytes of each value', positive, 1024)
  .option('--behind <chunks>', 'chunks that a warm cache lacks', integer, 1000)
  .option('--chunk-records <count>', 'records of each of those', positive, 10)
  .option('--pool-threads <count>', "the server's --pool-threads", positive, 1)
  .parse()
  .opts<Options>();

const directory = mkdtempSync(join(tmpdir(), 'netsy-bench-start-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
const store = join(directory, 'store');
const dataDir = join(directory, 'data');
const READY_WITHIN_MS = 600_000;
/** Of /proc. */
const TICKS_PER_SECOND = 100;
const NEVER = ['--snapshot-age=100000h', '--snapshot-records=1000000000000', '--snapshot-bytes=1000GiB'];

/** Starts a server, reads, and says how long that took. */
async function measure(name: string, records: number, flags: readonly string[] = NEVER): Promise<Netsy> {
  const begun = performance.now();
  const netsy = await startNetsy({
    dataDir,
    readyWithinMs: READY_WITHIN_MS,
    arguments: [`--store=${pathToFileURL(store).href}`, `--pool-threads=${options.poolThreads}`, ...flags],
  });
  const client = new Client(netsy.authority);
  const reply = await client.call(KV.method.range, {
    key: Buffer.from('/registry/'),
    rangeEnd: Buffer.from('/registry0'),
    limit: 1n,
  });
  const seconds = (performance.now() - begun) / 1000;
  client.close();
  if (Number(reply.count) !== options.keys) throw new Error(`${reply.count} keys are there`);
  const rate = Math.round(records / seconds).toLocaleString('en');
  const [busiest = 0, ...others] = threadSeconds(netsy.pid);
  const all = others.reduce((sum, of) => sum + of, busiest);
  process.stdout.write(
    `${name.padEnd(44)} ${seconds.toFixed(2)} s to the first read  ${rate} records/s  ` +
      `CPU: ${all.toFixed(2)} s, of these the busiest thread ${busiest.toFixed(2)} s\n`,
  );
  for (const line of netsy.log().split('\n')) {
    const found = /"(?:msg)":"(followed the log|loaded a snapshot|recovering[^"]*)"/.exec(line);
    if (found !== null) process.stderr.write(`  ${line}\n`);
  }
  return netsy;
}

/** The processor time of each of its threads, the busiest first: what a start takes where nobody else wants the processors. */
function threadSeconds(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return [];
  const seconds = readdirSync(tasks).map((task) => {
    const fields = readFileSync(`${tasks}/${task}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  });
  return seconds.sort((a, b) => b - a);
}

/** In an order that is not that of the keys. */
function* shuffled(count: number): Generator<number> {
  let step = Math.floor(count * 0.618) | 1;
  while (greatestCommonDivisor(step, count) !== 1) step += 2;
  for (let index = 0, key = 0; index < count; index++, key = (key + step) % count) yield key;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

async function writeKeys(log: LogWriter): Promise<void> {
  let chunk: number[] = [];
  for (const key of shuffled(options.keys)) {
    if (chunk.push(key) < 1000) continue;
    await log.put(chunk, options.valueBytes);
    chunk = [];
  }
  if (chunk.length > 0) await log.put(chunk, options.valueBytes);
}

async function main(): Promise<void> {
  const { keys, behind, chunkRecords } = options;
  const log = new LogWriter(store);
  await log.begin();
  await writeKeys(log);
  // Else the first start would wait for the disk to take what was written here.
  spawnSync('sync');
  const alone = sqliteAlone(directory, keys, options.valueBytes).toLocaleString('en');
  process.stdout.write(`load average ${loadavg()[0]!.toFixed(1)}; SQLite alone: ${alone} records/s\n`);
  const first = await measure('cold, from chunks of 1,000 records', keys, [
    '--snapshot-records=1',
    '--retention=forever',
  ]);
  while (!first.log().includes('"msg":"wrote a snapshot"')) {
    if (first.log().includes('could not write a snapshot')) throw new Error(first.log());
    await sleep(100);
  }
  process.stderr.write(
    `  ${first
      .log()
      .split('\n')
      .find((line) => line.includes('wrote a snapshot'))}\n`,
  );
  await first.stop();
  await log.goOn();
  const pick = shuffled(keys);
  for (let chunk = 0; chunk < behind; chunk++) {
    await log.put(
      Array.from({ length: chunkRecords }, () => pick.next().value ?? 0),
      options.valueBytes,
    );
  }
  const late = behind * chunkRecords;
  await (await measure(`warm, ${behind} chunks of ${chunkRecords} records behind`, late)).stop();
  rmSync(join(dataDir, 'cache'), { recursive: true });
  await (await measure(`cold, from a snapshot and ${behind} chunks`, keys + late)).stop();
}

await main();
