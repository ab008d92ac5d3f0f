import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { createHttpHandler, type HealthQuestion, type HttpParts } from '../../src/main/ops/http.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { STATUS } from './status.ts';

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

describe('HTTP pages', () => {
  let server: Server | undefined;
  let corrupt: string | undefined;
  let away: string | undefined;
  let question: HealthQuestion | undefined;
  let metricsFail = false;
  const lines: string[] = [];

  const parts: HttpParts = {
    checks: {
      data_corruption: async () => corrupt,
      serializable_read: async () => undefined,
      linearizable_read: async () => {
        if (away !== undefined) throw new Error(away);
        return undefined;
      },
      non_learner: async () => undefined,
    },
    health: async (asked) => {
      question = asked;
      return asked.serializable ? undefined : away;
    },
    versions: () => ({ cluster: '3.7.0', storage: '3.6.0' }),
    metrics: {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      text: async () => {
        if (metricsFail) throw new Error('a secret');
        return 'up 1\n';
      },
    },
    status: async () => ({ ...STATUS, trouble: away }),
    log: {
      ...silentLog,
      info: (message, fields) => void lines.push(`${message}: ${fields?.['path']}`),
      warn: (message, fields) => void lines.push(`${message}: ${fields?.['path']} ${fields?.['reason']}`),
    },
  };

  before(async () => {
    server = createServer(createHttpHandler(parts)).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => server?.close());

  async function ask(path: string, method = 'GET'): Promise<Answer> {
    assert.ok(server !== undefined);
    const { port } = server.address() as AddressInfo;
    const sent = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    for await (const piece of response) body += String(piece);
    const { headers, statusCode = 0 } = response;
    return { status: statusCode, type: headers['content-type'], headers, body };
  }

  async function whileAway(reason: string, body: () => Promise<void>): Promise<void> {
    away = reason;
    try {
      await body();
    } finally {
      away = undefined;
    }
  }

  it('says etcd’s words when healthy', async () => {
    const health = await ask('/health');
    assert.deepEqual([health.status, health.body], [200, '{"health":"true","reason":""}']);
    assert.deepEqual(question, { serializable: false, excluded: new Set() });
    const version = await ask('/version');
    assert.equal(version.body, '{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.6.0"}');
    assert.equal(version.type, 'application/json');
    for (const path of ['/livez', '/readyz', '/livez/serializable_read', '/readyz/linearizable_read']) {
      const answer = await ask(path);
      assert.deepEqual([answer.status, answer.body], [200, 'ok\n'], path);
    }
  });

  it('tells the log when an answer begins to be no and when it is yes again, however often probes ask', async () => {
    const question = '/readyz (serializable_read, linearizable_read, non_learner)';
    const probe = (): Promise<Answer[]> =>
      Promise.all(['/health', '/readyz?exclude=data_corruption', '/livez'].map((path) => ask(path)));
    lines.length = 0;
    await probe();
    assert.deepEqual(lines, [], 'all is well');
    await whileAway('no leader', async () => {
      for (let i = 0; i < 5; i++) await probe();
    });
    assert.deepEqual(lines.splice(0).sort(), [
      'health check error: /health no leader',
      `health check error: ${question} [+]serializable_read ok\n[-]linearizable_read failed: no leader\n[+]non_learner ok`,
    ]);
    for (let i = 0; i < 5; i++) await probe();
    const again = [`health check ok again: /health`, `health check ok again: ${question}`];
    assert.deepEqual(lines.sort(), again);
  });

  it('lists its checks when asked to be verbose, without those excluded', async () => {
    const readyz = await ask('/readyz?verbose');
    assert.equal(
      readyz.body,
      '[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n',
    );
    const fewer = await ask('/readyz?verbose&exclude=non_learner&exclude=data_corruption&exclude=unknown');
    assert.equal(fewer.body, '[+]serializable_read ok\n[+]linearizable_read ok\nok\n');
    assert.equal((await ask('/livez?verbose')).body, '[+]serializable_read ok\nok\n');
  });

  it('says why it is not healthy, and stays live while only its store is away', async () => {
    await whileAway('the store does not answer', async () => {
      const health = await ask('/health');
      assert.equal(health.status, 503);
      assert.equal(health.body, '{"health":"false","reason":"the store does not answer"}\n');
      assert.equal((await ask('/health?serializable=true')).status, 200);
      const readyz = await ask('/readyz');
      assert.equal(readyz.status, 503);
      assert.match(readyz.body, /^\[-\]linearizable_read failed: the store does not answer$/m);
      assert.match(readyz.body, /^\[\+\]serializable_read ok$/m);
      assert.equal((await ask('/readyz?exclude=linearizable_read')).status, 200);
      assert.equal((await ask('/readyz/serializable_read')).status, 200);
      assert.equal((await ask('/livez')).status, 200);
    });
  });

  it('passes the alarms to overlook on to the health question', async () => {
    await ask('/health?exclude=NOSPACE&exclude=');
    assert.deepEqual(question, { serializable: false, excluded: new Set(['NOSPACE']) });
  });

  it('fails readiness on corruption', async () => {
    corrupt = 'alarm activated: CORRUPT';
    const readyz = await ask('/readyz/data_corruption');
    corrupt = undefined;
    assert.equal(readyz.status, 503);
    // etcd too ends this body twice: its list of checks has a line end, and Go's http.Error adds one.
    assert.equal(readyz.body, '[-]data_corruption failed: alarm activated: CORRUPT\n\n');
  });

  it('gives metrics with their content type', async () => {
    const metrics = await ask('/metrics');
    assert.deepEqual([metrics.body, metrics.type], ['up 1\n', 'text/plain; version=0.0.4; charset=utf-8']);
  });

  it('answers HEAD with the headers alone, other methods with 405, other paths with 404', async () => {
    const head = await ask('/version', 'HEAD');
    assert.deepEqual([head.status, head.body], [200, '']);
    assert.equal(head.headers['content-length'], String((await ask('/version')).body.length));
    for (const path of ['/health', '/readyz', '/version', '/metrics']) {
      const answer = await ask(path, 'POST');
      assert.deepEqual(
        [answer.status, answer.headers.allow, answer.body],
        [405, 'GET', 'Method Not Allowed\n'],
      );
    }
    for (const path of ['/healthz', '/readyz/', '/livez/linearizable_read', '/constructor', '//health']) {
      assert.equal((await ask(path)).status, 404, path);
    }
  });

  it('hides the reason when a page breaks', async () => {
    metricsFail = true;
    const answer = await ask('/metrics');
    metricsFail = false;
    assert.deepEqual([answer.status, answer.body], [500, 'Internal Server Error\n']);
  });
});
