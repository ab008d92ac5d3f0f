import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { CommitMeter } from '../../src/main/commit/pipeline.ts';
import { parseCommandLine } from '../../src/main/config/command-line.ts';
import { createLog } from '../../src/main/ops/log.ts';
import { commitMeter } from '../../src/main/ops/meters.ts';
import { Metrics } from '../../src/main/ops/metrics.ts';
import { Server } from '../../src/main/server.ts';
import { openStore } from '../../src/main/store/open.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { CHUNKS_PREFIX, PACKS_PREFIX, parseChunkKey } from '../../src/shared/format/names.ts';
import { CRASH_POINT, type CrashPoint, type UpkeepCrashPoint } from './crash-point.ts';

/** The server as `main.ts` builds it, which kills its own process, as `kill -9` does, at a chosen point. */

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

function dyingMeter(meter: CommitMeter, point: CrashPoint): CommitMeter {
  let ends = 0;
  return {
    batch: (requests, bytes) => meter.batch(requests, bytes),
    held: (ms) => meter.held?.(ms),
    stage: (stage, ms) => {
      meter.stage(stage, ms);
      if (point.at === 'end of stage' && point.stage === stage && ++ends === point.count) die();
    },
  };
}

/** Counts the chunks that are put, each once however often it is tried. */
class ChunkCount {
  readonly #numbers = new Map<string, number>();

  numberOf(key: string): number {
    const number = this.#numbers.get(key) ?? this.#numbers.size + 1;
    this.#numbers.set(key, number);
    return number;
  }

  /** Whether one was put before a chunk that comes before it in the log, as while that is compressed. */
  get hasHole(): boolean {
    // The first is the epoch's, behind which the log goes on elsewhere.
    const [, ...sequences] = [...this.#numbers.keys()].map((key) => parseChunkKey(key)!);
    return Math.max(...sequences) - Math.min(...sequences) >= sequences.length;
  }
}

const never = new Promise<never>(() => {});

function dyingStore(store: ObjectStore, point: CrashPoint): ObjectStore {
  const chunks = new ChunkCount();
  const landed = new Set<string>();
  const earlier = new Set<Promise<unknown>>();
  const putInTime = async (
    key: string,
    body: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<'created' | 'exists'> => {
    const putting = store.putIfAbsent(key, body, signal);
    earlier.add(putting);
    return putting;
  };
  const put = async (
    key: string,
    body: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<'created' | 'exists'> => {
    const number = key.startsWith(CHUNKS_PREFIX) ? chunks.numberOf(key) : 0;
    if (number < point.count || point.at === 'end of stage') return putInTime(key, body, signal);
    switch (point.at) {
      case 'before put':
        return die();
      case 'after put':
        await store.putIfAbsent(key, body, signal);
        return die();
      case 'overtaken': {
        if (number === point.count) return never;
        const answer = await store.putIfAbsent(key, body, signal);
        landed.add(key);
        return landed.size >= point.later ? die() : answer;
      }
      case 'on the way':
        mkdirSync(point.directory, { recursive: true });
        writeFileSync(join(point.directory, basename(key)), body);
        if (number < point.count + point.later || chunks.hasHole) return never;
        await Promise.allSettled(earlier);
        return die();
    }
  };
  return { ...whole(store), putIfAbsent: put };
}

/** Dies in the work that keeps the log bounded. */
function dyingUpkeep(store: ObjectStore, point: UpkeepCrashPoint): ObjectStore {
  let [pieces, packs, deletes] = [0, 0, 0];
  const counted = async function* (parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      yield part;
      if (point.at === 'snapshot piece' && ++pieces === point.count) die();
    }
  };
  return {
    ...whole(store),
    putIfAbsent: async (key, body, signal) => {
      const isIt = key.startsWith(PACKS_PREFIX) && ++packs === point.count;
      if (isIt && point.at === 'before pack') die();
      const answer = await store.putIfAbsent(key, body, signal);
      if (isIt && point.at === 'after pack') die();
      return answer;
    },
    putMultipart: async (key, parts, signal) => {
      await store.putMultipart(key, counted(parts), signal);
      if (point.at === 'after snapshot') die();
    },
    delete: async (key, signal) => {
      await store.delete(key, signal);
      if (point.at === 'after delete' && ++deletes === point.count) die();
    },
  };
}

/** Its methods, bound. */
function whole(store: ObjectStore): ObjectStore {
  return {
    url: store.url,
    get: (key, signal) => store.get(key, signal),
    getRange: (key, offset, length, signal) => store.getRange(key, offset, length, signal),
    putIfAbsent: (key, body, signal) => store.putIfAbsent(key, body, signal),
    put: (key, body, signal) => store.put(key, body, signal),
    list: (prefix, startAfter) => store.list(prefix, startAfter),
    delete: (key, signal) => store.delete(key, signal),
    putMultipart: (key, parts, signal) => store.putMultipart(key, parts, signal),
    close: () => store.close(),
  };
}

function isUpkeep(point: CrashPoint | UpkeepCrashPoint): point is UpkeepCrashPoint {
  const all: readonly string[] = [
    'snapshot piece',
    'after snapshot',
    'before pack',
    'after pack',
    'after delete',
  ] satisfies UpkeepCrashPoint['at'][];
  return all.includes(point.at);
}

async function main(): Promise<void> {
  const commandLine = parseCommandLine(process.argv.slice(2), process.env);
  if (commandLine.command !== 'serve') throw new Error('a victim serves');
  const { settings } = commandLine;
  const point = JSON.parse(process.env[CRASH_POINT] ?? '') as CrashPoint | UpkeepCrashPoint;
  const log = createLog({ level: settings.logLevel, format: settings.logFormat });
  const metrics = new Metrics();
  const { endpoint, region } = settings.s3;
  const store = await openStore(settings.store, {
    clock: systemClock,
    random: systemRandom,
    environment: process.env,
    endpoint,
    region,
    addressing: undefined,
  });
  const server = new Server({
    settings,
    store: isUpkeep(point) ? dyingUpkeep(store, point) : dyingStore(store, point),
    metrics,
    meter: isUpkeep(point) ? commitMeter(metrics) : dyingMeter(commitMeter(metrics), point),
    clock: systemClock,
    random: systemRandom,
    log,
    fatal: (error) => {
      log.error('stopping', { error: error.message });
      process.exit(1);
    },
  });
  await server.start();
  log.info('serving', { clients: server.addresses });
}

void main();
