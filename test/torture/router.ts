import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import { systemClock } from '../../src/shared/base/clock.ts';
import type { RevisionOperation } from '../checker/etcd-models.ts';
import type { Client } from '../crash/client.ts';
import type { Seeded } from '../support/seeded.ts';

/** What says that a call was not carried out, and won't be: nothing was sent, or a standby was asked. */
const NOT_DONE = /etcdserver: no leader|No connection established|ECONNREFUSED/;
/** Between two servers that don't take a call. */
const NEXT_MS = 20;

interface Answer {
  readonly header?: { readonly revision: bigint };
  readonly succeeded?: boolean;
  readonly deleted?: bigint;
}

/** A client of several servers: of whichever is the primary. A call of unknown outcome is never made again. */
export class Router {
  /** What was answered, as far as main revisions go. */
  readonly revisions: RevisionOperation[] = [];
  /** What there is to ask. */
  servers: readonly Client[] = [];
  readonly #random: Seeded;
  readonly #paceMsMax: number;
  #preferred = 0;

  /** Each call waits up to `paceMsMax` first, so that the load is one of many clients and not of fast ones. */
  constructor(random: Seeded, paceMsMax: number) {
    this.#random = random;
    this.#paceMsMax = paceMsMax;
  }

  /**
   * Calls the primary. Rejects with grpc-js's ServiceError: the primary's own, or etcd's `no leader` if nobody took
   * the call before the deadline.
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    deadlineMs = 3_000,
  ): Promise<MessageShape<O>> {
    await this.pause();
    const until = systemClock.monotonicMs() + deadlineMs;
    for (;;) {
      const asked = this.#preferred;
      const server = this.servers[asked % Math.max(1, this.servers.length)];
      try {
        if (server === undefined) throw notDone();
        return await this.ask(server, method, request, Math.max(1, until - systemClock.monotonicMs()));
      } catch (error) {
        if (this.#preferred === asked) this.#preferred++;
        if (!isNotDone(error)) throw error;
        if (systemClock.monotonicMs() > until) throw notDone(error);
        await systemClock.sleep(NEXT_MS * (1 + this.#random.fraction()));
      }
    }
  }

  /** What a client waits before a call. */
  pause(): Promise<void> {
    return systemClock.sleep(this.#random.fraction() * this.#paceMsMax);
  }

  /** Calls this server, whatever it is. */
  async ask<I extends DescMessage, O extends DescMessage>(
    server: Client,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    deadlineMs: number,
  ): Promise<MessageShape<O>> {
    const call = systemClock.monotonicMs();
    const response = await server.call(method, request, deadlineMs);
    const { header, succeeded, deleted } = response as Answer;
    const isWrite = method.name === 'Put' || succeeded === true || (deleted ?? 0n) > 0n;
    this.revisions.push({
      kind: isWrite ? 'write' : 'read',
      revision: Number(header!.revision),
      call,
      return: systemClock.monotonicMs(),
    });
    return response;
  }
}

/** Whether the call is certain to have done nothing. */
export function isNotDone(error: unknown): boolean {
  return NOT_DONE.test((error as Partial<ServiceError>).details ?? '');
}

function notDone(cause?: unknown): Error {
  const details = 'etcdserver: no leader';
  return Object.assign(new Error(details, { cause }), { code: 14, details });
}
