import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { Pool } from 'undici';
import { exchange, type S3Reply } from '../../src/main/store/s3-exchange.ts';

type Ask = (path: string, signal?: AbortSignal) => Promise<S3Reply>;

/** One connection to a server that answers as `answer` says. */
async function asking(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (ask: Ask) => Promise<void>,
): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const pool = new Pool(origin, { connections: 1, pipelining: 1 });
  try {
    await use((path, signal) => exchange(pool, { origin, method: 'GET', path }, signal));
  } finally {
    await pool.destroy();
    server.closeAllConnections();
    server.close();
  }
}

describe('an exchange with a store', () => {
  it('gives the whole of a large reply, announced or not', async () => {
    const body = randomBytes(1024 * 1024);
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      if (request.url === '/announced') response.setHeader('content-length', body.length);
      response.write(body.subarray(0, 1000));
      response.end(body.subarray(1000));
    };
    await asking(answer, async (ask) => {
      for (const path of ['/announced', '/unannounced']) {
        const reply = await ask(path);
        assert.equal(Buffer.compare(reply.body, body), 0, path);
      }
    });
  });

  it('ends with the last answer, not with one that only says that it goes on', async () => {
    const answer = (_request: unknown, response: ServerResponse): void => {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.writeHead(200, { etag: '"tag"', 'x-two': ['first', 'second'] }).end('body');
    };
    await asking(answer, async (ask) => {
      const reply = await ask('/');
      assert.equal(reply.status, 200);
      assert.equal(Buffer.from(reply.body).toString(), 'body');
      assert.equal(reply.header('etag'), '"tag"');
      assert.equal(reply.header('x-absent'), undefined);
    });
  });

  it('that is given up rejects with the signal’s reason and ends its connection', async () => {
    const seen = new EventEmitter();
    const [arrived, closed] = [once(seen, 'arrived'), once(seen, 'closed')];
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      request.socket.once('close', () => seen.emit('closed'));
      response.writeHead(200, { 'content-length': '100' }).write('some of it');
      seen.emit('arrived');
    };
    await asking(answer, async (ask) => {
      const controller = new AbortController();
      const reply = ask('/', controller.signal);
      await arrived;
      controller.abort(new Error('given up'));
      await assert.rejects(reply, /given up/);
      await closed;
    });
  });

  it('that is given up while it waits for a connection is not sent', async () => {
    const paths: (string | undefined)[] = [];
    const seen = new EventEmitter();
    const arrived: Promise<ServerResponse[]> = once(seen, 'first');
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      paths.push(request.url);
      if (request.url === '/first') seen.emit('first', response);
      else response.end();
    };
    await asking(answer, async (ask) => {
      const first = ask('/first');
      const controller = new AbortController();
      const waiting = ask('/waiting', controller.signal);
      const [held] = await arrived;
      controller.abort(new Error('given up'));
      await assert.rejects(waiting, /given up/);
      held?.end();
      await first;
      await ask('/last');
      assert.deepEqual(paths, ['/first', '/last']);
    });
  });
});
