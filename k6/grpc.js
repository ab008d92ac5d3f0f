// kube-apiserver's way with a key, over gRPC: create it if it is not there, read it, update it at its revision.
// `npm run bench -- --scenario k6` runs this against servers that it starts; by itself, from the repository's root:
//   ENDPOINT=127.0.0.1:2379 k6 run --vus 50 --duration 30s k6/grpc.js
import { check } from 'k6';
import encoding from 'k6/encoding';
import { Counter } from 'k6/metrics';
import grpc from 'k6/net/grpc';
import { summaryTo } from './summary.js';

const endpoint = __ENV.ENDPOINT || '127.0.0.1:2379';
const prefix = __ENV.PREFIX || `k6/${Date.now()}/`;
const value = encoding.b64encode('x'.repeat(1024));

const client = new grpc.Client();
client.load(['../proto'], 'etcdserverpb/rpc.proto');

/** Keys whose create was acknowledged; who runs this counts them in the server afterwards. */
const created = new Counter('keys_created');

export const options = {
  thresholds: { checks: ['rate==1'] },
  summaryTrendStats: ['count', 'avg', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

function put(key, modRevision) {
  const failure = modRevision === 0 ? [] : [{ requestRange: { key } }];
  return client.invoke('etcdserverpb.KV/Txn', {
    compare: [{ result: 'EQUAL', target: 'MOD', key, modRevision }],
    success: [{ requestPut: { key, value } }],
    failure,
  });
}

export default function () {
  if (__ITER === 0) client.connect(endpoint, { plaintext: true });
  const key = encoding.b64encode(`${prefix}${__VU}-${__ITER}`);
  const create = put(key, 0);
  const acknowledged = check(create, {
    'create succeeds': (answer) => answer.status === grpc.StatusOK && answer.message.succeeded === true,
  });
  if (!acknowledged) return;
  created.add(1);
  const revision = create.message.header.revision;
  const get = client.invoke('etcdserverpb.KV/Range', { key });
  check(get, {
    'get finds what was written': ({ status, message }) =>
      status === grpc.StatusOK && message.kvs[0].modRevision === revision && message.kvs[0].value === value,
  });
  check(put(key, revision), {
    'update succeeds': (answer) => answer.status === grpc.StatusOK && answer.message.succeeded === true,
  });
}

export const handleSummary = summaryTo(__ENV.SUMMARY);
