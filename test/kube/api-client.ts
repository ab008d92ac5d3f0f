import { Agent, request } from 'undici';

/** The parts of a Kubernetes API object, list or Status that the scenarios look at. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name?: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly continue?: string;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly items?: readonly KubeObject[];
  /** Of a Status: why, in a word and in a sentence, and as an HTTP status. */
  readonly reason?: string;
  readonly message?: string;
  readonly code?: number;
}

export interface ApiResponse {
  readonly status: number;
  readonly body: KubeObject;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject;
}

export type Query = Readonly<Record<string, string | number | boolean>>;

/** How long one request may wait for its answer; the API server itself gives up sooner (`MUTATION_TIMEOUT`). */
const ANSWER_TIMEOUT_MS = 45_000;
const CONNECTIONS = 64;

/** The Kubernetes REST API as JSON over HTTPS to one API server on this machine, whose certificate is throw-away. */
export class ApiClient {
  readonly #agent = new Agent({
    connect: { rejectUnauthorized: false },
    connections: CONNECTIONS,
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
  });
  /** Watches hold a connection each and may be silent for long. */
  readonly #watchAgent = new Agent({ connect: { rejectUnauthorized: false }, bodyTimeout: 0 });
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(origin: string, token: string) {
    this.#origin = origin;
    this.#headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
  }

  /** One request and its answer, whatever its status. Rejects when no answer came: the outcome is unknown. */
  async send(method: string, path: string, body?: object, query: Query = {}): Promise<ApiResponse> {
    const { statusCode, body: answer } = await request(this.#url(path, query), {
      method: method as 'GET',
      headers: { ...this.#headers, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      dispatcher: this.#agent,
    });
    const text = await answer.text();
    return { status: statusCode, body: parseObject(text) };
  }

  /** The object that a successful request returns. Rejects, with the API server's own words, on any other status. */
  async expect(method: string, path: string, body?: object, query: Query = {}): Promise<KubeObject> {
    const response = await this.send(method, path, body, query);
    if (response.status >= 200 && response.status < 300) return response.body;
    throw new Error(`${method} ${path}: ${describe(response)}`);
  }

  /** The text that a path such as `/readyz` answers, with its status. */
  async text(path: string): Promise<{ status: number; text: string }> {
    const { statusCode, body } = await request(this.#url(path, {}), {
      headers: this.#headers,
      dispatcher: this.#agent,
    });
    return { status: statusCode, text: await body.text() };
  }

  /**
   * The events of one watch, until the API server or `signal` ends it. Resolves once the watch is accepted;
   * rejects with the API server's words when it is not.
   */
  async watch(path: string, query: Query, signal: AbortSignal): Promise<AsyncGenerator<WatchEvent>> {
    const { statusCode, body } = await request(this.#url(path, { ...query, watch: true }), {
      headers: this.#headers,
      dispatcher: this.#watchAgent,
      signal,
    });
    if (statusCode === 200) return watchEvents(body, signal);
    throw new Error(
      `watch ${path}: ${describe({ status: statusCode, body: parseObject(await body.text()) })}`,
    );
  }

  /** Ends every connection; requests and watches under way fail. */
  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#watchAgent.destroy()]);
  }

  #url(path: string, query: Query): URL {
    const url = new URL(path, this.#origin);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    return url;
  }
}

/** A status and what the API server says about it, in one line. */
export function describe(response: ApiResponse): string {
  return `${response.status} ${response.body.reason ?? ''} ${response.body.message ?? ''}`.trim();
}

/** The resource version, as the etcd revision that it is. Throws when the object has none. */
export function versionOf(object: KubeObject): bigint {
  const text = object.metadata.resourceVersion;
  if (text === undefined || !/^\d+$/.test(text)) {
    throw new Error(`${object.kind} ${object.metadata.name} has the resourceVersion ${text}`);
  }
  return BigInt(text);
}

async function* watchEvents(body: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<WatchEvent> {
  let rest = '';
  const decoder = new TextDecoder();
  try {
    for await (const piece of body) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as WatchEvent;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function parseObject(text: string): KubeObject {
  try {
    return JSON.parse(text) as KubeObject;
  } catch {
    return { metadata: {}, message: text.slice(0, 500) };
  }
}
