import type { EtcdReadings } from './etcd-metrics.ts';
import type { Interval } from './history.ts';
import type { OwnReadings, TlsExpiryReadings } from './own-metrics.ts';
import type { SlowCall } from './slow-calls.ts';

/** What `/status.json` says and the page at `/` shows. No key, value or credential is in it. */
export interface ServerStatus {
  readonly name: string;
  readonly version: string;
  readonly etcdVersion: string;
  /** Wall clock, milliseconds. */
  readonly nowMs: number;
  readonly startedMs: number;
  /** Why it is not healthy; undefined when it is. */
  readonly trouble: string | undefined;
  readonly store: string;
  readonly quotaBytes: number;
  readonly leases: number;
  /** When the files of TLS run out, Unix seconds; empty without TLS. */
  readonly tls: TlsExpiryReadings;
  /** Of a standby; undefined when none is seen. */
  readonly primary: { readonly name: string; readonly clientUrls: readonly string[] } | undefined;
  /** Undefined until recovery is over. */
  readonly etcd: EtcdReadings | undefined;
  readonly own: OwnReadings | undefined;
  readonly totals: { readonly puts: number; readonly dollars: number; readonly storeErrors: number };
  /** The oldest first. */
  readonly history: readonly Interval[];
  /** The latest first. */
  readonly slow: readonly SlowCall[];
}

/** A store's URL without what may be secret: who signs in, and with what. */
export function shownStore(url: string): string {
  if (!URL.canParse(url)) return 'unknown';
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  parsed.search = '';
  return parsed.href;
}
