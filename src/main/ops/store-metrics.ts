import type { Histogram } from '../../shared/base/metering.ts';
import { putsOf, S3_STANDARD_DOLLARS } from '../store/billing.ts';
import { SECONDS_BUCKETS, type SeriesMaker, type Tally } from './series.ts';

const PUT_DOLLARS = S3_STANDARD_DOLLARS.per1000Puts / 1000;
const GET_DOLLARS = S3_STANDARD_DOLLARS.per1000Gets / 1000;
/** A list is billed like a PUT. */
const LIKE_PUT: ReadonlySet<string> = new Set(['put', 'putIfAbsent', 'list']);
const LIKE_GET: ReadonlySet<string> = new Set(['get', 'getRange']);

/** A store may answer with any word; so many different ones are told apart. */
const CODES_MAX = 40;
const CODE_FORM = /^[A-Za-z0-9_.]{1,48}$/;

/** The requests to the object store, what they cost, and the uploads of chunks that are made of them. */
export class StoreMetrics {
  /** Requests of an operation that ended in one way. Ask once and keep it. */
  readonly requests: (operation: string, result: string) => Tally;
  /** The times of an operation. Ask once and keep it. */
  readonly seconds: (operation: string) => Histogram;
  /** Bytes of bodies that went to the store or came from it. Ask once and keep it. */
  readonly bytes: (operation: string) => Tally;
  /** Tries of uploads: `put`, `hedge` or `readback`, and how it ended. Ask once and keep it. */
  readonly uploadAttempts: (request: string, result: string) => Tally;
  readonly uploadsHedged: Tally;
  readonly hedgesWon: Tally;
  readonly dollars: Tally;
  /** Requests that put an object, each try counted. */
  puts = 0;
  errorCount = 0;
  readonly #errors: (labels: { operation: string; code: string }) => Tally;
  readonly #errorTallies = new Map<string, Tally>();
  readonly #codes = new Set<string>();

  constructor(make: SeriesMaker) {
    const requests = make.counters(
      'netsy_store_requests_total',
      'Requests to the object store, each try counted.',
    );
    this.requests = (operation, result) => requests({ operation, result });
    const seconds = make.histograms(
      'netsy_store_request_seconds',
      'Time of requests to the object store.',
      SECONDS_BUCKETS,
    );
    this.seconds = (operation) => seconds({ operation });
    const bytes = make.counters(
      'netsy_store_bytes_total',
      'Bytes of objects that were sent to the object store or came from it.',
    );
    this.bytes = (operation) => bytes({ operation });
    this.#errors = make.counters(
      'netsy_store_errors_total',
      'Requests to the object store that failed, by its error code, HTTP status, or the system’s error.',
    );
    const attempts = make.counters(
      'netsy_upload_attempts_total',
      'Requests on behalf of uploads of chunks: the first PUT, hedges, and what was read back.',
    );
    this.uploadAttempts = (request, result) => attempts({ request, result });
    this.uploadsHedged = make.counter(
      'netsy_uploads_hedged_total',
      'Slow uploads that were sent a second time.',
    );
    this.hedgesWon = make.counter(
      'netsy_uploads_hedge_won_total',
      'Uploads whose second PUT was the first to succeed.',
    );
    this.dollars = make.counter(
      'netsy_store_cost_dollars_total',
      'Estimated cost of the requests to the object store in US dollars, at the prices of S3 Standard in us-east-1.',
    );
  }

  /** A request failed; `code` is what the store or the system said, as far as it said anything. */
  failed(operation: string, code: string): void {
    const known = this.#knownCode(code);
    const name = `${operation} ${known}`;
    let tally = this.#errorTallies.get(name);
    if (tally === undefined) {
      tally = this.#errors({ operation, code: known });
      this.#errorTallies.set(name, tally);
    }
    tally.add(1);
    this.errorCount++;
  }

  /** A request was answered, or failed; `billed` is whether it costs anything. */
  asked(operation: string, bytes: number, billed: boolean): void {
    if (billed) this.dollars.add(requestDollars(operation, bytes));
    if (operation.startsWith('put')) this.puts++;
  }

  #knownCode(code: string): string {
    if (this.#codes.has(code)) return code;
    if (!CODE_FORM.test(code) || this.#codes.size >= CODES_MAX) return 'other';
    this.#codes.add(code);
    return code;
  }
}

/** What a request with a body of so many bytes costs on S3, in US dollars; of a list, its first 1,000 objects. */
function requestDollars(operation: string, bytes: number): number {
  if (operation === 'putMultipart') return PUT_DOLLARS * putsOf(bytes);
  if (LIKE_PUT.has(operation)) return PUT_DOLLARS;
  return LIKE_GET.has(operation) ? GET_DOLLARS : 0;
}
