import type { Shape } from './fields.ts';

/** etcd's messages as `Shape`s: fields and kinds of rpc.proto and kv.proto. */

export const RANGE: Shape = {
  1: 'bytes',
  2: 'bytes',
  3: 'number',
  4: 'number',
  5: 'enum',
  6: 'enum',
  7: 'bool',
  8: 'bool',
  9: 'bool',
  10: 'number',
  11: 'number',
  12: 'number',
  13: 'number',
};
export const PUT: Shape = { 1: 'bytes', 2: 'bytes', 3: 'bigint', 4: 'bool', 5: 'bool', 6: 'bool' };
export const DELETE: Shape = { 1: 'bytes', 2: 'bytes', 3: 'bool' };
const COMPARE: Shape = {
  1: 'enum',
  2: 'enum',
  3: 'bytes',
  4: 'number',
  5: 'number',
  6: 'number',
  7: 'bytes',
  8: 'bigint',
  64: 'bytes',
};
const OP: Shape = { 1: () => RANGE, 2: () => PUT, 3: () => DELETE, 4: () => TXN };
export const TXN: Shape = { 1: () => COMPARE, 2: () => OP, 3: () => OP };

/** A transaction that only reads, however deep. */
export const READ_ONLY_TXN: Shape = {
  1: () => COMPARE,
  2: () => ({ 1: () => RANGE, 4: () => READ_ONLY_TXN }),
  3: () => ({ 1: () => RANGE, 4: () => READ_ONLY_TXN }),
};
export const COMPACTION: Shape = { 1: 'number', 2: 'bool' };
export const WATCH: Shape = {
  1: () => ({
    1: 'bytes',
    2: 'bytes',
    3: 'number',
    4: 'bool',
    5: 'packed',
    6: 'bool',
    7: 'number',
    8: 'bool',
  }),
  2: () => ({ 1: 'number' }),
  3: () => ({}),
};
export const LEASE_GRANT: Shape = { 1: 'number', 2: 'bigint' };
export const LEASE_ID: Shape = { 1: 'bigint' };
export const LEASE_TIME_TO_LIVE: Shape = { 1: 'bigint', 2: 'bool' };
export const KEY_VALUE: Shape = {
  1: 'bytes',
  2: 'number',
  3: 'number',
  4: 'number',
  5: 'bytes',
  6: 'bigint',
};
