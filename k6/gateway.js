// Puts and gets of 1 KiB through the JSON gateway.
// `npm run bench -- --scenario k6` runs this against servers that it starts; by itself, from the repository's root:
//   ENDPOINT=127.0.0.1:2379 k6 run --vus 50 --duration 30s k6/gateway.js
import { check } from 'k6';
import encoding from 'k6/encoding';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { summaryTo } from './summary.js';

const endpoint = __ENV.ENDPOINT || '127.0.0.1:2379';
const prefix = __ENV.PREFIX || `k6/${Date.now()}/`;
const value = encoding.b64encode('x'.repeat(1024));

/** Keys whose put was acknowledged; who runs this counts them in the server afterwards. */
const created = new Counter('keys_created');

export const options = {
  thresholds: { checks: ['rate==1'] },
  summaryTrendStats: ['count', 'avg', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

function post(path, body) {
  const parameters = { headers: { 'content-type': 'application/json' } };
  return http.post(`http://${endpoint}/v3/kv/${path}`, JSON.stringify(body), parameters);
}

export default function () {
  const key = encoding.b64encode(`${prefix}${__VU}-${__ITER}`);
  const acknowledged = check(post('put', { key, value }), { 'put succeeds': ({ status }) => status === 200 });
  if (!acknowledged) return;
  created.add(1);
  check(post('range', { key }), {
    'get finds what was written': (answer) => answer.status === 200 && answer.json('kvs.0.value') === value,
  });
}

export const handleSummary = summaryTo(__ENV.SUMMARY);
