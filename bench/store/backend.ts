import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';

/** What a backend says to one S3 request, before the slow store lets it out. */
export interface Answer {
  readonly status: number;
  /** Names and values in turns, as `http.ServerResponse.writeHead` takes them. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | Readable | undefined;
}

/** The store behind the delay: a real S3 server through a proxy, or objects in memory. */
export interface Backend {
  /** Said in the bench's output. */
  readonly name: string;
  /** Reads the whole request and answers it. A rejection becomes 502. */
  handle(request: IncomingMessage): Promise<Answer>;
  close(): void;
}
