import { flag } from './flag.ts';
import { DURATION_MS_MAX, duration, integer, size } from './values.ts';

const CONNECTIONS_MAX = 1_000_000;
const STREAMS_MAX = 2 ** 32 - 1;
/** node's HTTP/2 takes no larger field. */
const HEADER_BYTES_MAX = 65_536;
const HEADER_BYTES_MIN = 4096;
const WAITING_ANSWER_BYTES_MIN = 64 * 1024;
const WAITING_ANSWER_BYTES_MAX = 2 ** 40;

/** What clients may take of the server; `--max-concurrent-streams` is etcd's, the others are ours. */
export const LIMIT_FLAGS = {
  maxConnections: flag(
    'Limits',
    'max-connections',
    '<count>',
    integer(1, CONNECTIONS_MAX),
    'most connections to one client URL; more are closed at once',
    '10000',
  ),
  maxConcurrentStreams: flag(
    'Limits',
    'max-concurrent-streams',
    '<count>',
    integer(1, STREAMS_MAX),
    'most calls that one connection may have open at a time',
    '10000',
  ),
  maxStreams: flag(
    'Limits',
    'max-streams',
    '<count>',
    integer(1, STREAMS_MAX),
    'most streams (watches, lease keep-alives and the like) of all connections together; more are refused',
    '50000',
  ),
  maxWaitingAnswerBytes: flag(
    'Limits',
    'max-waiting-answer-bytes',
    '<size>',
    size(WAITING_ANSWER_BYTES_MIN, WAITING_ANSWER_BYTES_MAX),
    "answers that a connection's client has not taken, besides the largest; its further calls wait. 4 times as many in all",
    '64MiB',
  ),
  maxHeaderBytes: flag(
    'Limits',
    'max-header-bytes',
    '<size>',
    size(HEADER_BYTES_MIN, HEADER_BYTES_MAX),
    'largest headers of an HTTP/1.1 request; those of a gRPC call have at most 128 fields and 144KiB',
    '64KiB',
  ),
  handshakeTimeout: flag(
    'Limits',
    'handshake-timeout',
    '<duration>',
    duration(1, DURATION_MS_MAX),
    'how long a new connection may take over its TLS handshake, its first bytes and its first headers',
    '10s',
  ),
  requestReadTimeout: flag(
    'Limits',
    'request-read-timeout',
    '<duration>',
    duration(1, DURATION_MS_MAX),
    'how long a request may take to arrive whole, once it has begun',
    '1m',
  ),
  drainTimeout: flag(
    'Limits',
    'drain-timeout',
    '<duration>',
    duration(0, DURATION_MS_MAX),
    'how long SIGTERM lets what is under way go on before it is cut',
    '10s',
  ),
};
