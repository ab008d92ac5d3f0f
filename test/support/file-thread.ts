import type { FilePort } from '../../src/main/store/file-thread.ts';
import type { FileReply, FileRequest } from '../../src/workers/contract/file.ts';
import type { FileCalls } from '../../src/workers/file/calls.ts';
import { Creates } from '../../src/workers/file/creates.ts';

interface Heard {
  message(reply: FileReply): void;
  error(error: Error): void;
  exit(): void;
}

/** What the directory store's thread runs, in the test's own, so that a test can see, hold and fail its calls. */
export class InThread implements FilePort {
  readonly requests: FileRequest[] = [];
  readonly heard: Partial<Heard> = {};
  readonly #creates: Creates;

  constructor(calls: FileCalls) {
    this.#creates = new Creates(calls, (answers) => this.heard.message?.({ answers }));
  }

  postMessage(request: FileRequest): void {
    this.requests.push(request);
    setImmediate(() => {
      if (request.type === 'create') this.#creates.create(request);
      else if (request.type === 'sync') this.#creates.sync(request);
      else {
        this.#creates.close();
        this.heard.exit?.();
      }
    });
  }

  on<Event extends keyof Heard>(event: Event, heard: Heard[Event]): void {
    Object.assign(this.heard, { [event]: heard });
  }

  ref(): void {}

  unref(): void {}
}
