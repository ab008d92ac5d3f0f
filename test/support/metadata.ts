import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { closeHttp, listen, portOf } from './loopback.ts';

/** Keys as one of AWS's sources hands them out. */
export interface IssuedKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
}

export interface MetadataOptions {
  /** Called for each request that is entitled to keys. */
  readonly issue: () => IssuedKeys | Promise<IssuedKeys>;
  /** What a container's request must have in its Authorization header. */
  readonly containerToken?: () => string;
  /** What AssumeRoleWithWebIdentity must bring. */
  readonly webIdentityToken?: () => string;
  /** What AssumeRole must bring, and by whose keys. */
  readonly externalId?: string;
  readonly callerKeyId?: string;
}

const INSTANCE_TOKEN = 'token-of-imdsv2';
const INSTANCE_PATH = '/latest/meta-data/iam/security-credentials/';
const ROLE = 'role-of-the-instance';

/**
 * A real HTTP server that hands out keys as AWS's sources do, and refuses what they would refuse: the instance's
 * metadata (IMDSv2 only), the container endpoint of ECS and of EKS pod identity at `/v1/credentials`, and the token
 * service (AssumeRole, AssumeRoleWithWebIdentity).
 */
export class MetadataServer {
  /** `GET /v1/credentials 200` and so on. */
  readonly requests: string[] = [];
  /** Answers nothing but 500 while it is true. */
  isDown = false;
  readonly #server: Server;
  readonly #options: MetadataOptions;

  private constructor(options: MetadataOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
  }

  static async start(options: MetadataOptions): Promise<MetadataServer> {
    const server = new MetadataServer(options);
    await listen(server.#server);
    return server;
  }

  /** `http://127.0.0.1:port` */
  get url(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  /** How many times keys were given. */
  get issued(): number {
    return this.requests.filter((line) => / keys$/.test(line)).length;
  }

  async stop(): Promise<void> {
    await closeHttp(this.#server);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const piece of request) body += String(piece);
    const said = this.isDown ? refuse(500, 'down') : await this.#decide(request, body);
    this.requests.push(`${request.method} ${request.url} ${said.status}${said.isKeys ? ' keys' : ''}`);
    response.writeHead(said.status, { 'content-type': said.type ?? 'text/plain' }).end(said.body);
  }

  async #decide(request: IncomingMessage, body: string): Promise<Said> {
    const { method, url = '', headers } = request;
    if (method === 'PUT' && url === '/latest/api/token') {
      if (headers['x-aws-ec2-metadata-token-ttl-seconds'] === undefined) return refuse(400, 'no ttl');
      return { status: 200, body: INSTANCE_TOKEN };
    }
    if (url === INSTANCE_PATH || url === INSTANCE_PATH + ROLE) return this.#instance(request, url);
    if (url === '/v1/credentials') return this.#container(request);
    if (method === 'POST' && url === '/') return this.#tokenService(request, new URLSearchParams(body));
    return refuse(404, 'nothing here');
  }

  async #instance({ headers }: IncomingMessage, url: string): Promise<Said> {
    if (headers['x-aws-ec2-metadata-token'] !== INSTANCE_TOKEN) return refuse(401, 'no token');
    if (url === INSTANCE_PATH) return { status: 200, body: ROLE };
    return { ...asJson({ Code: 'Success', Type: 'AWS-HMAC', ...named(await this.#options.issue()) }) };
  }

  async #container({ headers }: IncomingMessage): Promise<Said> {
    const expected = this.#options.containerToken?.();
    if (expected !== undefined && headers.authorization !== expected) return refuse(401, 'wrong token');
    return asJson(named(await this.#options.issue()));
  }

  async #tokenService({ headers }: IncomingMessage, form: URLSearchParams): Promise<Said> {
    const action = form.get('Action') ?? '';
    const { externalId, callerKeyId, webIdentityToken } = this.#options;
    if (action === 'AssumeRoleWithWebIdentity') {
      if (form.get('WebIdentityToken') !== webIdentityToken?.()) return stsError('InvalidIdentityToken');
    } else if (action === 'AssumeRole') {
      if ((form.get('ExternalId') ?? undefined) !== externalId) return stsError('AccessDenied');
      if (!headers.authorization?.includes(`Credential=${callerKeyId}/`))
        return stsError('InvalidClientTokenId');
    } else return stsError('InvalidAction');
    const { AccessKeyId, SecretAccessKey, Token, Expiration } = named(await this.#options.issue());
    const keys = `<Credentials><AccessKeyId>${AccessKeyId}</AccessKeyId><SecretAccessKey>${SecretAccessKey}</SecretAccessKey><SessionToken>${Token}</SessionToken><Expiration>${Expiration}</Expiration></Credentials>`;
    const xml = `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>${keys}</${action}Result></${action}Response>`;
    return { status: 200, body: xml, type: 'text/xml', isKeys: true };
  }
}

interface Said {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
  readonly isKeys?: boolean;
}

function refuse(status: number, body: string): Said {
  return { status, body };
}

function asJson(value: unknown): Said {
  return { status: 200, body: JSON.stringify(value), type: 'application/json', isKeys: true };
}

function stsError(code: string): Said {
  const body = `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>refused</Message></Error></ErrorResponse>`;
  return { status: 403, body, type: 'text/xml' };
}

function named(keys: IssuedKeys): Record<string, string> {
  return {
    AccessKeyId: keys.accessKeyId,
    SecretAccessKey: keys.secretAccessKey,
    Token: keys.sessionToken,
    Expiration: keys.expiration.toISOString().replace(/\.\d{3}/, ''),
    LastUpdated: '2026-01-01T00:00:00Z',
  };
}
