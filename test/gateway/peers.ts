import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startEtcd } from '../support/etcd.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { type GatewayAnswer, type GatewayRequest, send } from './http.ts';

/** What of an answer's headers a client may look at. */
const HEADERS = [
  'content-type',
  'grpc-metadata-content-type',
  'www-authenticate',
  'location',
  'access-control-allow-origin',
  'access-control-allow-methods',
  'access-control-allow-headers',
];

/** What differs by intent: whose cluster it is, how its log is counted, and how much time has passed. */
const OWN =
  /"(cluster_id|member_id|raft_term|leader|raftIndex|raftTerm|raftAppliedIndex|dbSize|dbSizeInUse|dbSizeQuota)":"\d+",?|"token":"[^"]*"/g;

/** A real etcd and a netsy, to which the same is sent. */
export class Peers {
  etcd = '';
  netsy!: Netsy;
  #stopEtcd: () => Promise<void> = async () => {};

  /** Call it within a `describe`. */
  constructor() {
    before(async () => {
      this.netsy = await startNetsy();
      const etcd = await startEtcd(temporaryDirectory());
      this.etcd = etcd.endpoint;
      this.#stopEtcd = () => etcd.process.stop();
    });
    after(async () => {
      await Promise.all([this.netsy?.stop(), this.#stopEtcd()]);
    });
  }

  /** Sends a request to both and compares all of the answers; returns netsy's. Two watches' lines have no order. */
  async same(
    request: GatewayRequest,
    order: 'in order' | 'in any order' = 'in order',
  ): Promise<GatewayAnswer> {
    const [theirs, ours] = await Promise.all([send(this.etcd, request), send(this.netsy.endpoint, request)]);
    assert.deepEqual(comparable(ours, 'ours', order), comparable(theirs, 'theirs', order), describe(request));
    return ours;
  }

  /** Posts a text to both. */
  json(path: string, body: string, lines?: number): Promise<GatewayAnswer> {
    return this.same({ path, body, ...(lines !== undefined && { lines }) });
  }

  /** Posts a message to both. */
  post(path: string, message: unknown = {}, lines?: number): Promise<GatewayAnswer> {
    return this.json(path, JSON.stringify(message), lines);
  }
}

function describe({ method = 'POST', path, body = '', headers }: GatewayRequest): string {
  const shown =
    typeof body === 'string' ? body : `${body.length} bytes: ${Buffer.from(body).toString('latin1')}`;
  return `${method} ${path} ${headers === undefined ? '' : JSON.stringify(headers)} ${shown.slice(0, 2_000)}`;
}

function comparable(
  answer: GatewayAnswer,
  whose: 'ours' | 'theirs',
  order: 'in order' | 'in any order',
): unknown {
  const headers = HEADERS.map((name) => [name, answer.headers[name]]);
  const lines = answer.body.split('\n').map((line) => textOf(line, whose));
  if (order === 'in any order') lines.sort();
  return { status: answer.status, headers, lines };
}

/**
 * JSON as text, so that the order of names and the way numbers are written count. protobuf's Go library puts spaces
 * into JSON and non-breaking ones into errors, or not, from build to build, so theirs is written anew.
 */
function textOf(line: string, whose: 'ours' | 'theirs'): string {
  const text = whose === 'theirs' && line.startsWith('{') ? JSON.stringify(JSON.parse(line)) : line;
  return text.replace(OWN, '').replace(/proto:\u00a0/, 'proto: ');
}
