import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** How one run of etcdctl ended, as it is compared. */
export interface Ran {
  readonly words: string;
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** An etcdctl that goes on until it is told to end. */
export interface Running {
  /** Resolves when its output so far matches. */
  says(wanted: RegExp): Promise<void>;
  /** SIGINT, as by Ctrl-C; resolves when it has ended. */
  interrupt(): Promise<void>;
  /** What it said, when it has ended. */
  readonly ended: Promise<Ran>;
}

/** One etcdctl at one server. Everything that ends is kept, in order, to be compared with another server's. */
export class Etcdctl {
  readonly #command: string;
  readonly #authority: string;
  readonly ran: Ran[] = [];
  /** Whether it is etcd 3.7's; else Debian's 3.4, which has fewer verbs and options. */
  readonly modern: boolean;

  constructor(command: string, authority: string, modern: boolean) {
    this.#command = command;
    this.#authority = authority;
    this.modern = modern;
  }

  get endpoint(): string {
    return this.#authority;
  }

  /** Runs it to its end, and keeps what came of it. */
  async run(words: string, input = ''): Promise<Ran> {
    const ran = await this.start(words, input).ended;
    this.ran.push(ran);
    return ran;
  }

  /** As `run` for what only etcd 3.7's etcdctl has. */
  async runModern(words: string, input = ''): Promise<void> {
    if (this.modern) await this.run(words, input);
  }

  /** Its output alone, kept nowhere; for ids and such. */
  async ask(words: string): Promise<string> {
    const { out, err, code } = await this.#begin(words).raw;
    if (code !== 0) throw new Error(`etcdctl ${words}: ${err}`);
    return out;
  }

  /** Keeps what came of an etcdctl that was started. */
  async keep(running: Running): Promise<void> {
    this.ran.push(await running.ended);
  }

  /** Starts one that goes on by itself. If `interactive`, its input stays open. */
  start(words: string, input = '', interactive = false): Running {
    const begun = this.#begin(words, input, interactive);
    return { ...begun, ended: begun.raw.then((ran) => this.#comparable(ran)) };
  }

  #begin(words: string, input = '', interactive = false): Omit<Running, 'ended'> & { raw: Promise<Ran> } {
    // A quoted word may have blanks in it.
    const split = (words.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
    const api = this.modern ? {} : { ETCDCTL_API: '3' };
    const endpoints = words.includes('--endpoints') ? {} : { ETCDCTL_ENDPOINTS: this.#authority };
    const env = { ...process.env, ...api, ...endpoints };
    const child = spawn(this.#command, split, { env });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk;
    });
    // One that ends at once does not read its input.
    child.stdin.on('error', () => {});
    if (interactive) child.stdin.write(input);
    else child.stdin.end(input);
    const closed = once(child, 'close') as Promise<[number | null]>;
    return {
      says: async (wanted) => {
        while (!wanted.test(out)) {
          await Promise.race([once(child.stdout, 'data'), closed]);
          if (child.exitCode !== null && !wanted.test(out)) throw new Error(`${words} ended: ${out}${err}`);
        }
      },
      interrupt: async () => {
        child.kill('SIGINT');
        await closed;
      },
      raw: closed.then(([code]) => ({ words, code, out, err })),
    };
  }

  /** Without what is each server's own, or a matter of time. */
  #comparable({ words, code, out, err }: Ran): Ran {
    const clean = (text: string): string =>
      text
        .replaceAll(`http://${this.#authority}`, 'ENDPOINT')
        .replaceAll(this.#authority, 'ENDPOINT')
        .replace(/^\{"level".*\n/gm, '')
        .replace(/\/\S+\.db/g, 'FILE')
        .replace(/("(?:raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":)\d+/g, '$1N')
        .replace(/("RaftTerm" : )\d+/g, '$1N')
        .replace(/("(?:cluster_id|member_id|leader)":)\d+/g, '$1ID')
        .replace(/\b[0-9a-f]{14,16}\b/g, 'ID')
        .replace(/\b\d{15,20}\b/g, 'ID')
        .replace(/\b[\d.]+ ?(?:B|kB|MB)\b/g, 'SIZE')
        .replace(/\b[\d.]+(?:µs|ms|s)\b(?!\))/g, 'TIME');
    return { words: clean(words), code, out: clean(out), err: clean(err) };
  }
}
