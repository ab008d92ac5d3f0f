import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { ETCD_VERSION } from '../../shared/model/version.ts';
import { PAGE_HEADERS, pageOf } from './page.ts';
import type { ServerStatus } from './status-json.ts';

/**
 * The HTTP/1.1 pages that etcd also has (its etcdhttp package), with etcd's paths, texts and status codes:
 * `/health`, `/livez`, `/readyz` and one page per check below them, `/version`, `/metrics`. Ours are `/`, a page for people,
 * and `/status.json`, which it shows.
 */

/** Undefined when all is well, else why not, in one line. */
type Check = () => Promise<string | undefined>;

type CheckName = 'data_corruption' | 'serializable_read' | 'linearizable_read' | 'non_learner';

export interface HttpParts {
  /** etcd's checks. `/readyz` runs all, `/livez` only `serializable_read`. A check that throws has failed. */
  readonly checks: Readonly<Record<CheckName, Check>>;
  /**
   * Why `/health` is false, or undefined. `serializable` asks about this process alone, not about its store;
   * `excluded` has the names of alarms to overlook (`NOSPACE`, `CORRUPT`).
   */
  readonly health: (question: HealthQuestion) => Promise<string | undefined>;
  /** etcd's cluster and storage version. */
  readonly versions: () => { readonly cluster: string; readonly storage: string };
  /** Prometheus' text, and its content type. */
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  /** What `/status.json` says. */
  readonly status: () => Promise<ServerStatus>;
  readonly log: Log;
}

export interface HealthQuestion {
  readonly serializable: boolean;
  readonly excluded: ReadonlySet<string>;
}

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type PageMaker = (query: URLSearchParams) => Promise<Page>;

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';
const HTML = 'text/html; charset=utf-8';

/**
 * Tells the log when an answer of the health pages begins to be no, and when it is yes again. Probes ask every other
 * second, and a standby is not ready for as long as it lives: a line for each answer would be all that its log holds.
 */
class FailingPages {
  readonly #log: Log;
  readonly #failing = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** `reason` is undefined when the answer to `question`, one of a few, is yes. */
  tell(question: string, reason: string | undefined): void {
    if (reason === undefined) {
      if (this.#failing.delete(question)) this.#log.info('health check ok again', { path: question });
    } else if (!this.#failing.has(question)) {
      this.#failing.add(question);
      this.#log.warn('health check error', { path: question, reason });
    }
  }
}

/** The handler of every HTTP/1.1 request; it never throws. */
export function createHttpHandler(
  parts: HttpParts,
): (request: IncomingMessage, response: ServerResponse) => void {
  const pages = pagesOf(parts, new FailingPages(parts.log));
  return (request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2);
    const page = pages.get(path);
    if (page === undefined) return send(request, response, plain(404, '404 page not found'));
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET');
      return send(request, response, plain(405, 'Method Not Allowed'));
    }
    page(new URLSearchParams(query)).then(
      (made) => send(request, response, made),
      (error: unknown) => {
        parts.log.error('page failed', { path, error });
        send(request, response, plain(500, 'Internal Server Error'));
      },
    );
  };
}

function pagesOf(parts: HttpParts, failing: FailingPages): Map<string, PageMaker> {
  const { checks } = parts;
  return new Map<string, PageMaker>([
    [
      '/',
      async () => ({ status: 200, type: HTML, body: pageOf(await parts.status()), headers: PAGE_HEADERS }),
    ],
    ['/status.json', async () => statusPage(parts)],
    ['/health', (query) => healthPage(parts, failing, query)],
    ['/version', async () => versionPage(parts)],
    ['/metrics', async () => metricsPage(parts)],
    ...checkPages(failing, '/livez', { serializable_read: checks.serializable_read }),
    ...checkPages(failing, '/readyz', checks),
  ]);
}

function versionPage({ versions }: HttpParts): Page {
  const { cluster: etcdcluster, storage } = versions();
  const body = JSON.stringify({ etcdserver: ETCD_VERSION, etcdcluster, storage });
  return { status: 200, type: JSON_TYPE, body };
}

async function statusPage({ status }: HttpParts): Promise<Page> {
  const headers = { 'Cache-Control': 'no-store' };
  return { status: 200, type: JSON_TYPE, body: `${JSON.stringify(await status())}\n`, headers };
}

async function metricsPage({ metrics }: HttpParts): Promise<Page> {
  return { status: 200, type: metrics.contentType, body: await metrics.text() };
}

async function healthPage(
  { health }: HttpParts,
  failing: FailingPages,
  query: URLSearchParams,
): Promise<Page> {
  const serializable = query.get('serializable') === 'true';
  const reason = await outcome(() => health({ serializable, excluded: excludedIn(query) }));
  failing.tell(serializable ? '/health?serializable=true' : '/health', reason);
  const body = JSON.stringify({ health: String(reason === undefined), reason: reason ?? '' });
  return reason === undefined ? { status: 200, type: TEXT, body } : plain(503, body);
}

/** The page of a group of checks, and one page below it for each. */
function checkPages(
  failing: FailingPages,
  root: string,
  checks: Readonly<Record<string, Check>>,
): [string, PageMaker][] {
  const all = Object.entries(checks);
  const single = all.map(([name, check]): [string, PageMaker] => [
    `${root}/${name}`,
    (query) => checksPage(failing, `${root}/${name}`, [[name, check]], query),
  ]);
  const whole: PageMaker = (query) => {
    const excluded = excludedIn(query);
    const chosen = all.filter(([name]) => !excluded.has(name));
    return checksPage(failing, root, chosen, query);
  };
  return [[root, whole], ...single];
}

async function checksPage(
  failing: FailingPages,
  path: string,
  checks: readonly [string, Check][],
  query: URLSearchParams,
): Promise<Page> {
  const results = await Promise.all(checks.map(([, check]) => outcome(check)));
  const lines = checks.map(([name], index) => checkLine(name, results[index])).join('');
  const failed = results.some((reason) => reason !== undefined);
  // Who leaves other checks out asks another question.
  const question = `${path} (${checks.map(([name]) => name).join(', ')})`;
  failing.tell(question, failed ? lines.trim() : undefined);
  if (failed) return plain(503, lines);
  return { status: 200, type: TEXT, body: query.has('verbose') ? `${lines}ok\n` : 'ok\n' };
}

function checkLine(name: string, reason: string | undefined): string {
  return reason === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${reason}\n`;
}

async function outcome(check: Check): Promise<string | undefined> {
  try {
    return await check();
  } catch (error) {
    return errorMessage(error);
  }
}

function excludedIn(query: URLSearchParams): ReadonlySet<string> {
  return new Set(query.getAll('exclude').filter((name) => name !== ''));
}

/** As Go's `http.Error`: the text and a line end. */
function plain(status: number, text: string): Page {
  return { status, type: TEXT, body: `${text}\n` };
}

function send(request: IncomingMessage, response: ServerResponse, page: Page): void {
  const body = Buffer.from(page.body);
  response.writeHead(page.status, {
    'Content-Type': page.type,
    'Content-Length': body.length,
    'X-Content-Type-Options': 'nosniff',
    ...page.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
