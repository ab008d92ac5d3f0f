import type { Clock } from '../../shared/base/clock.ts';
import { Distribution, type Labels, type SeriesMaker, samplesOf, type Tally } from './series.ts';
import type { SlowCalls } from './slow-calls.ts';

export type GrpcType = 'unary' | 'server_stream' | 'client_stream' | 'bidi_stream';

/** Told of every call of one gRPC method. */
export interface CallMeter {
  /** A call has come; give what this answers, a time, to `handled`. */
  started(): number;
  /** It has ended with gRPC's code; answers how long it took, in milliseconds. */
  handled(code: number, startedMs: number): number;
  /** A message of so many bytes came from the client, or went to it. */
  received(bytes: number): void;
  sent(bytes: number): void;
}

/** gRPC's code names in their order, as grpc-ecosystem's Prometheus interceptors write them. */
const CODE_NAMES = [
  ...['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound', 'AlreadyExists'],
  ...[
    'PermissionDenied',
    'ResourceExhausted',
    'FailedPrecondition',
    'Aborted',
    'OutOfRange',
    'Unimplemented',
  ],
  ...['Internal', 'Unavailable', 'DataLoss', 'Unauthenticated'],
];

/** Those of grpc-ecosystem's interceptors: Prometheus' own defaults. */
const HANDLING_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const KV_SERVICE = 'etcdserverpb.KV';

/** What one method has seen. A call adds to these numbers and does nothing else. */
interface Method {
  readonly labels: Labels;
  /** By code. */
  readonly handled: number[];
  started: number;
  messagesReceived: number;
  messagesSent: number;
  readonly seconds: Distribution;
}

/** The calls, under the names of grpc-ecosystem's interceptors, which etcd uses, and etcd's own counts of bytes. */
export class GrpcMetrics {
  readonly #methods: Method[] = [];
  readonly #received: Tally;
  readonly #sent: Tally;
  readonly #clock: Clock;
  readonly #slow: SlowCalls;

  constructor(make: SeriesMaker, clock: Clock, slow: SlowCalls) {
    this.#clock = clock;
    this.#slow = slow;
    this.#received = make.counter(
      'etcd_network_client_grpc_received_bytes_total',
      'The total number of bytes received from grpc clients.',
    );
    this.#sent = make.counter(
      'etcd_network_client_grpc_sent_bytes_total',
      'The total number of bytes sent to grpc clients.',
    );
    this.#show(make);
  }

  /** Counts the calls of one method, such as `etcdserverpb.KV`, `Range`, `unary`. Ask once and keep it. */
  calls(service: string, method: string, type: GrpcType): CallMeter {
    const seen: Method = {
      // In etcd's order, for who looks for lines of text.
      labels: { grpc_method: method, grpc_service: service, grpc_type: type },
      // All codes, as etcd has them: of a counter that begins with a failure, Prometheus' `rate` does not see that one.
      handled: CODE_NAMES.map(() => 0),
      started: 0,
      messagesReceived: 0,
      messagesSent: 0,
      seconds: new Distribution(HANDLING_BUCKETS),
    };
    this.#methods.push(seen);
    const name = `${service.slice(service.lastIndexOf('.') + 1)}/${method}`;
    return {
      started: () => {
        seen.started++;
        return this.#clock.monotonicMs();
      },
      handled: (code, startedMs) => {
        const tookMs = this.#clock.monotonicMs() - startedMs;
        seen.handled[code] = (seen.handled[code] ?? 0) + 1;
        seen.seconds.observe(tookMs / 1000);
        if (type === 'unary' && tookMs > this.#slow.thresholdMs)
          this.#slow.add({ method: name, tookMs, code });
        return tookMs;
      },
      received: (bytes) => {
        seen.messagesReceived++;
        this.#received.value += bytes;
      },
      sent: (bytes) => {
        seen.messagesSent++;
        this.#sent.value += bytes;
      },
    };
  }

  /** Calls of KV's methods of these names that have ended, and the seconds that they took. */
  ended(methods: ReadonlySet<string>): { readonly calls: number; readonly seconds: Distribution } {
    const seconds = new Distribution(HANDLING_BUCKETS);
    for (const { labels, seconds: own } of this.#methods) {
      if (labels['grpc_service'] !== KV_SERVICE || !methods.has(labels['grpc_method'] ?? '')) continue;
      for (const [index, count] of own.counts.entries()) seconds.counts[index]! += count;
    }
    return { calls: seconds.count, seconds };
  }

  #show(make: SeriesMaker): void {
    const counter = (name: string, help: string, value: (method: Method) => number): void =>
      make.read('counter', name, help, () =>
        this.#methods.map((method) => ({ labels: method.labels, value: value(method) })),
      );
    counter(
      'grpc_server_started_total',
      'Total number of RPCs started on the server.',
      (method) => method.started,
    );
    counter(
      'grpc_server_msg_received_total',
      'Total number of RPC stream messages received on the server.',
      (method) => method.messagesReceived,
    );
    counter(
      'grpc_server_msg_sent_total',
      'Total number of gRPC stream messages sent by the server.',
      (method) => method.messagesSent,
    );
    make.read(
      'counter',
      'grpc_server_handled_total',
      'Total number of RPCs completed on the server, regardless of success or failure.',
      () =>
        this.#methods.flatMap(({ labels, handled }) =>
          handled.map((value, code) => ({
            labels: { grpc_code: CODE_NAMES[code] ?? String(code) },
            sharedLabels: labels,
            value,
          })),
        ),
    );
    const name = 'grpc_server_handling_seconds';
    const help =
      'Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.';
    make.read('histogram', name, help, () =>
      this.#methods
        // A method that nobody calls would be fourteen lines of zeros.
        .filter(({ started }) => started > 0)
        .flatMap(({ labels, seconds }) => samplesOf(name, labels, seconds)),
    );
  }
}
