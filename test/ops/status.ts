import type { ServerStatus } from '../../src/main/ops/status-json.ts';

/** What a server of which little is known has to say. */
export const STATUS: ServerStatus = {
  ...{ name: 'one', version: '0.1.0', etcdVersion: '3.7.0', nowMs: 2000, startedMs: 1000 },
  ...{ trouble: undefined, store: 'file:///store', quotaBytes: 0, leases: 0, tls: {}, primary: undefined },
  ...{
    etcd: undefined,
    own: undefined,
    totals: { puts: 0, dollars: 0, storeErrors: 0 },
    history: [],
    slow: [],
  },
};
