import { create, toBinary } from '@bufbuild/protobuf';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import {
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from '../../shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { MalformedMessageError, Reader } from '../../shared/etcd/wire.ts';
import { checkMessage, failStream, type ServiceHandlers, type StreamingCall } from './service.ts';

/** While somebody watches, health is looked at this often: that a store is slow is seen only as time passes. */
const LOOK_EVERY_MS = 1_000;
const SERVICE_TAG = 10;
/** The one service that etcd knows: all of them. */
const WHOLE_SERVER = '';

/**
 * gRPC's health service. As in etcd it knows the whole server alone; unlike in etcd, which says SERVING whatever
 * comes, NOT_SERVING follows the server's own health.
 */
export class HealthService {
  readonly #clock: Clock;
  readonly #unhealthyReason: () => string | undefined;
  readonly #watchers = new Map<StreamingCall, Status>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, unhealthyReason: () => string | undefined) {
    this.#clock = clock;
    this.#unhealthyReason = unhealthyReason;
  }

  get handlers(): ServiceHandlers {
    return {
      unary: {
        Check: (request, reply) => {
          if (serviceOf(request) === WHOLE_SERVER) reply(undefined, response(this.#status()));
          else reply(new RefusedError(GrpcCode.NotFound, 'unknown service'), new Uint8Array(0));
        },
        List: (request, reply) => {
          checkMessage(request);
          const statuses = { [WHOLE_SERVER]: { status: this.#status() } };
          reply(
            undefined,
            toBinary(HealthListResponseSchema, create(HealthListResponseSchema, { statuses })),
          );
        },
      },
      serverStream: { Watch: (call) => this.#watch(call) },
    };
  }

  /** Says NOT_SERVING from now on, and ends the watches. */
  stop(): void {
    this.#stopped = true;
    this.#look();
    for (const call of [...this.#watchers.keys()]) failStream(call, new EtcdError('Stopped'));
  }

  #status(): Status {
    return this.#stopped || this.#unhealthyReason() !== undefined ? Status.NOT_SERVING : Status.SERVING;
  }

  #watch(call: StreamingCall): void {
    let service: string;
    try {
      service = serviceOf(call.request);
    } catch (error) {
      failStream(call, error);
      return;
    }
    // A service that is not known may become known later, says gRPC: the stream stays.
    const status = service === WHOLE_SERVER ? this.#status() : Status.SERVICE_UNKNOWN;
    call.write(response(status));
    call.once('cancelled', () => this.#forget(call));
    call.once('close', () => this.#forget(call));
    this.#watchers.set(call, status);
    this.#timer ??= this.#clock.after(LOOK_EVERY_MS, this.#tick);
  }

  readonly #tick = (): void => {
    this.#look();
    this.#timer = this.#watchers.size === 0 ? undefined : this.#clock.after(LOOK_EVERY_MS, this.#tick);
  };

  #look(): void {
    const now = this.#status();
    for (const [call, told] of this.#watchers) {
      if (told === Status.SERVICE_UNKNOWN || told === now) continue;
      this.#watchers.set(call, now);
      call.write(response(now));
    }
  }

  #forget(call: StreamingCall): void {
    this.#watchers.delete(call);
  }
}

function response(status: Status): Buffer {
  return Buffer.from(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status })));
}

const textDecoder = new TextDecoder('utf-8', { fatal: true });

/** HealthCheckRequest.service. */
function serviceOf(bytes: Buffer): string {
  const reader = new Reader(bytes);
  let service: Uint8Array = bytes.subarray(0, 0);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SERVICE_TAG) service = reader.bytes();
    else reader.skip(tag);
  }
  try {
    return textDecoder.decode(service);
  } catch {
    throw new MalformedMessageError('string field contains invalid UTF-8');
  }
}
