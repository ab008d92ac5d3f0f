import type { Dispatcher } from 'undici';

export interface S3Reply {
  readonly status: number;
  /** Undefined when absent; `name` in lower case. */
  header(name: string): string | undefined;
  readonly body: Uint8Array;
}

/**
 * Sends one request and takes its whole reply, whatever the status, into memory. Rejects with undici's error, also
 * for a reply that is not as long as announced, or with the signal's reason as soon as that is aborted.
 * A handler of undici's own, because `Dispatcher.request()` makes a stream of each reply, and most of ours are empty:
 * see docs/performance.md.
 */
export function exchange(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  signal: AbortSignal | undefined,
): Promise<S3Reply> {
  return new Promise((resolve, reject) => {
    dispatcher.dispatch(request, new ReplyHandler(signal, resolve, reject));
  });
}

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];

class ReplyHandler implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (reply: S3Reply) => void;
  readonly #reject: (error: unknown) => void;
  readonly #onAbort = (): void => {
    this.#reject(this.#signal?.reason);
    this.#controller?.abort(this.#signal?.reason);
  };
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #headers: Headers = {};
  #body = new ReplyBody(undefined);

  constructor(
    signal: AbortSignal | undefined,
    resolve: (reply: S3Reply) => void,
    reject: (error: unknown) => void,
  ) {
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    signal?.addEventListener('abort', this.#onAbort);
  }

  /** When a connection is free for it, which may be long after the request. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#signal?.aborted) this.#onAbort();
  }

  /** Perhaps several times: of answers that only say that it goes on, and then of the last one. */
  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    this.#status = status;
    this.#headers = headers;
    this.#body = new ReplyBody(firstOf(headers['content-length']));
  }

  onResponseData(_controller: Dispatcher.DispatchController, piece: Uint8Array): void {
    this.#body.add(piece);
  }

  onResponseEnd(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const headers = this.#headers;
    this.#resolve({
      status: this.#status,
      header: (name) => firstOf(headers[name]),
      body: this.#body.whole(),
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#reject(error);
  }
}

/** Of the announced length in one buffer, so that large objects are not held twice. undici sees to it that it is filled. */
class ReplyBody {
  readonly #announced: Uint8Array | undefined;
  readonly #pieces: Uint8Array[] = [];
  #filled = 0;

  constructor(announced: string | undefined) {
    this.#announced = announced === undefined ? undefined : new Uint8Array(Number(announced));
  }

  add(piece: Uint8Array): void {
    if (this.#announced === undefined) this.#pieces.push(piece);
    else this.#announced.set(piece, this.#filled);
    this.#filled += piece.length;
  }

  whole(): Uint8Array {
    return this.#announced ?? Uint8Array.from(Buffer.concat(this.#pieces));
  }
}

function firstOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'object' ? value[0] : value;
}
