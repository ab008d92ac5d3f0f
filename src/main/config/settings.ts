import type { AuthTokenSettings } from '../auth/open-tokens.ts';
import type { ClientLimits } from '../rpc/client-limits.ts';
import type { AllowedClients } from '../rpc/client-names.ts';
import type { TlsFiles, TlsRules } from '../rpc/tls-files.ts';
import type { S3Options } from '../store/s3-config.ts';
import type { HedgeAfter, SlowWrites } from './values.ts';

/** A setting that can't be used. The message is one line that says what to change. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}

export interface TlsSettings {
  /** As in etcd, naming authorities means that every client must show a certificate of theirs. */
  readonly files: TlsFiles;
  /** Whether the common name of a client's certificate is a user's. */
  readonly clientCertAuth: boolean;
  /** Undefined: everyone whom the authorities signed. */
  readonly allowedClients: AllowedClients | undefined;
  readonly rules: TlsRules;
}

/** How an S3 store is spoken to; what is undefined is taken from AWS's variables and files, or found out. */
export type S3Settings = Pick<
  S3Options,
  'endpoint' | 'region' | 'addressing' | 'dialect' | 'caFile' | 'role' | 'written'
>;

/** History that is kept: of the latest `periodMs` milliseconds, or the latest `revisions`. */
export type AutoCompactionSettings =
  | { readonly mode: 'periodic'; readonly periodMs: number }
  | { readonly mode: 'revision'; readonly revisions: number };

/**
 * Everything that a start of the server may vary, checked and deeply frozen. Durations are milliseconds,
 * sizes are bytes, paths are absolute.
 */
export interface Settings {
  readonly name: string;
  /** `http(s)://HOST:PORT` each, the port written out and possibly 0; at least one. */
  readonly listenClientUrls: readonly string[];
  /** Empty when not given: what the listener turns out to be bound to. */
  readonly advertiseClientUrls: readonly string[];
  readonly maxRequestBytes: number;
  readonly maxTxnOps: number;
  /** 0 is never. */
  readonly grpcKeepaliveIntervalMs: number;
  readonly grpcKeepaliveTimeoutMs: number;
  /** Like the client URLs; possibly none. */
  readonly listenMetricsUrls: readonly string[];
  readonly limits: ClientLimits;
  /** How long a stop lets calls go on. */
  readonly drainTimeoutMs: number;
  /** Set exactly when one of the listen URLs is https. */
  readonly tls: TlsSettings | undefined;
  /** Whether plain text was allowed beyond loopback. */
  readonly insecure: boolean;
  readonly authToken: AuthTokenSettings;
  readonly simpleTokenTtlMs: number;
  readonly bcryptCost: number;
  readonly dataDir: string;
  readonly cacheDir: string;
  /** `file:///DIR` or `s3://BUCKET[/PREFIX]`. */
  readonly store: string;
  /** 0 is no limit. */
  readonly quotaBackendBytes: number;
  /** The primary's lease; not etcd's leases. */
  readonly leaseTtlMs: number;
  readonly s3: S3Settings;
  readonly batchWindowMs: number;
  readonly batchBytesMax: number;
  readonly batchRequestsMax: number;
  readonly pipelineDepth: number;
  readonly hedgeAfter: HedgeAfter;
  /** PUTs per second; undefined: as many as it takes. */
  readonly putBudget: number | undefined;
  readonly requestTimeoutMs: number;
  readonly queueBytesMax: number;
  readonly queueRequestsMax: number;
  readonly poolThreads: number;
  readonly readerWorkers: number;
  readonly watchProgressNotifyIntervalMs: number;
  readonly watchBufferBytesMax: number;
  readonly watchStreamBufferBytesMax: number;
  /** Undefined: history is compacted only when a client asks for it. */
  readonly autoCompaction: AutoCompactionSettings | undefined;
  /** So many chunks are merged into a pack; 0: chunks stay as they are. */
  readonly mergeChunks: number;
  /** When the log since the last snapshot has grown by any of these, a new one is due. */
  readonly snapshot: { readonly records: number; readonly bytes: number; readonly ageMs: number };
  /** How far back restore points are kept; undefined: for ever. */
  readonly retentionMs: number | undefined;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  readonly logFormat: 'json' | 'console';
  readonly slowWriteLog: SlowWrites;
  /** Unary calls that take longer are logged. */
  readonly warningUnaryRequestMs: number;
}
