import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { RangeRequestSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { LARGE_KEYS } from '../../src/workers/sqlite/large-ranges.ts';
import { residentBytes } from '../fuzz/fuzzer.ts';
import { Stingy } from '../rpc/stingy.ts';
import { bytes } from '../support/etcd-client.ts';
import { Fixture, putOp } from './fixture.ts';

const MIB = 1024 * 1024;
const WAITING_BYTES = 8 * MIB;
const KEYS = LARGE_KEYS + 200;
const KEYS_PER_TXN = 100;
const VALUE_BYTES = 4096;
const LIST_BYTES = KEYS * VALUE_BYTES;
const RANGE = '/etcdserverpb.KV/Range';
const RANGE_STREAM = '/etcdserverpb.KV/RangeStream';
/** If all were answered that were 400 MB. */
const CALLS = 80;
/** What readers had in hand when there was no room any more: two messages of each of two threads. */
const IN_HAND_BYTES = 4 * (4 * MIB + LIST_BYTES);
/** Answers wait twice at most for a moment: in a reader's message and in the answer made of it. */
const GROWTH_BYTES_MAX = 150 * MIB;
const SAME_LOOKS = 4;
/** As JSON 250 MB. */
const PIPELINED = 40;
const PIPELINED_MS = 4_000;
/** As many as would make V8 mark the main thread's heap tens of times, did it find their memory itself. */
const TAKEN = 60;

const rangeOf = (limit: number): Uint8Array =>
  toBinary(
    RangeRequestSchema,
    create(RangeRequestSchema, { key: bytes('many/'), rangeEnd: bytes('many0'), limit: BigInt(limit) }),
  );

describe('A client that asks for much and takes none of it', { timeout: 120_000 }, () => {
  const server = new Fixture({ arguments: ['--max-waiting-answer-bytes', String(WAITING_BYTES)] });

  before(async () => {
    for (let first = 0; first < KEYS; first += KEYS_PER_TXN) {
      const names = Array.from(
        { length: KEYS_PER_TXN },
        (_, at) => `many/${String(first + at).padStart(5, '0')}`,
      );
      await server.txn({ success: names.map((name) => putOp(name, 'v'.repeat(VALUE_BYTES))) });
    }
    await server.range('many/', 'many0');
  });

  async function gauge(name: string): Promise<number> {
    const page = await (await fetch(`${server.netsy.endpoint}/metrics`)).text();
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
  }

  /** What waits, when that has been the same for a while: a reader that goes on for nobody would fill the memory meanwhile. */
  async function settled(): Promise<{ bytes: number; held: number }> {
    let same = 0;
    for (let before = ''; ; await sleep(300)) {
      const now = {
        bytes: await gauge('netsy_answers_waiting_bytes'),
        held: await gauge('netsy_calls_held'),
      };
      same = JSON.stringify(now) === before ? same + 1 : 0;
      if (same === SAME_LOOKS) return now;
      before = JSON.stringify(now);
    }
  }

  const kinds = {
    lists: { path: RANGE, limit: 0, padded: false },
    pages: { path: RANGE, limit: LARGE_KEYS - 1, padded: false },
    "lists by grpc-js's calls": { path: RANGE, limit: 0, padded: true },
    'streamed lists': { path: RANGE_STREAM, limit: 0, padded: false },
  };
  for (const [name, { path, limit, padded }] of Object.entries(kinds)) {
    it(`has no more ${name} than fit its room, keeps nobody waiting, and gets all when it takes them`, async (context) => {
      const answerBytes = (limit === 0 ? KEYS : limit) * VALUE_BYTES;
      const warm = residentBytes(server.netsy.pid);
      const client = new Stingy(Number(new URL(server.netsy.endpoint).port));
      try {
        const streams = Array.from({ length: CALLS }, (_, index) => 2 * index + 1);
        for (const stream of streams) {
          client.open(stream, path);
          if (padded) client.sendPadded(stream, rangeOf(limit));
          else client.send(stream, rangeOf(limit));
        }
        await client.ping();
        const waits = await settled();
        const grown = residentBytes(server.netsy.pid) - warm;
        context.diagnostic(`${waits.bytes} bytes wait, ${grown} bytes of memory more`);
        assert.ok(grown < GROWTH_BYTES_MAX, `${grown} bytes more than before`);
        assert.ok(waits.held > 0, 'calls wait');
        assert.ok(waits.bytes >= WAITING_BYTES / 8, `${waits.bytes} bytes`);
        assert.ok(waits.bytes <= WAITING_BYTES + answerBytes + IN_HAND_BYTES, `${waits.bytes} bytes`);
        assert.equal((await server.range('many/', 'many0')).kvs.length, KEYS);

        client.takeAll();
        await client.until(CALLS * answerBytes);
        while (client.ended.length < CALLS) await client.ping();
        for (const stream of streams)
          assert.ok(client.received(stream) > answerBytes, `${stream}: ${client.received(stream)}`);
        assert.deepEqual(await settled(), { bytes: 0, held: 0 });
      } finally {
        client.close();
      }
    });
  }

  it('by HTTP/1.1 has one answer at a time, and gets all when it takes them', async (context) => {
    const [key, rangeEnd] = ['many/', 'many0'].map((text) => Buffer.from(text).toString('base64'));
    const body = JSON.stringify({ key, range_end: rangeEnd });
    const request = `POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const warm = residentBytes(server.netsy.pid);
    const socket = connect({ port: Number(new URL(server.netsy.endpoint).port), host: '127.0.0.1' });
    try {
      socket.pause();
      socket.write(request.repeat(PIPELINED));
      // Time enough for all of them: a list is read in some tens of milliseconds.
      await sleep(PIPELINED_MS);
      const grown = residentBytes(server.netsy.pid) - warm;
      context.diagnostic(`${grown} bytes of memory more`);
      assert.ok(grown < GROWTH_BYTES_MAX, `${grown} bytes more than before`);
      const status = 'HTTP/1.1 200 OK';
      let answers = 0;
      let end = '';
      for await (const piece of socket) {
        const text = end + (piece as Buffer).toString('latin1');
        answers += text.split(status).length - 1;
        if (answers === PIPELINED) break;
        end = text.slice(1 - status.length);
      }
    } finally {
      socket.destroy();
    }
  });

  it('has V8 mark its heap for none of what is taken', async (context) => {
    const majors = (): Promise<number> => gauge('netsy_gc_pause_seconds_count{thread="main",kind="major"}');
    const before = await majors();
    for (let list = 0; list < TAKEN; list++) await server.range('many/', 'many0');
    const marked = (await majors()) - before;
    context.diagnostic(`${marked} for ${TAKEN} lists of ${LIST_BYTES} bytes`);
    assert.ok(marked <= TAKEN / 10, `${marked} for ${TAKEN} lists`);
  });

  it('leaves nothing when it goes', async () => {
    const client = new Stingy(Number(new URL(server.netsy.endpoint).port));
    for (let stream = 1; stream < 2 * CALLS; stream += 2) {
      client.open(stream, RANGE);
      client.send(stream, rangeOf(0));
    }
    await client.ping();
    assert.ok((await settled()).held > 0);
    client.close();
    while ((await gauge('netsy_answers_waiting_bytes')) > 0) await sleep(50);
    assert.deepEqual(await settled(), { bytes: 0, held: 0 });
  });
});
