import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Clock } from '../shared/base/clock.ts';
import { errorMessage } from '../shared/base/errors.ts';
import type { Random } from '../shared/base/random.ts';
import { expiryFinding } from './audit/doctor-certificate.ts';
import { type DoctorFinding, finding } from './audit/doctor-finding.ts';
import { examineDirectory, examineLimits } from './audit/doctor-machine.ts';
import { examineStore } from './audit/doctor-store.ts';
import { readTokenKeys } from './auth/open-tokens.ts';
import type { DoctorOrder } from './config/command-doctor.ts';
import type { Settings } from './config/settings.ts';
import { readTlsFiles } from './rpc/tls-files.ts';
import type { ObjectStore } from './store/store.ts';

/** `netsy doctor`: tries what a server needs, one thing after the other, whatever the others give. */

export interface DoctorParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Rejects with what to change. */
  openStore(): Promise<ObjectStore>;
  result(text: string): void;
}

/** Runs the command; resolves to whether nothing failed. Never rejects. */
export async function runDoctor(order: DoctorOrder, parts: DoctorParts): Promise<boolean> {
  const { settings, json, warnings } = order;
  const say = (one: DoctorFinding): void => {
    if (!json) parts.result(`${one.result.padEnd(4)}  ${one.check.padEnd(6)}  ${one.text}`);
  };
  const findings: DoctorFinding[] = [];
  const checks: (() => Promise<readonly DoctorFinding[]>)[] = [
    async () => warnings.map((text) => finding('flags', 'warn', text)),
    () => storeFindings(parts),
    async () => diskFindings(settings, parts),
    async () => examineLimits(),
    async () => tlsFindings(settings, parts.clock),
    () => portFindings(settings.listenClientUrls),
  ];
  for (const check of checks) {
    for (const one of await check()) {
      findings.push(one);
      say(one);
    }
  }
  const ok = findings.every(({ result }) => result !== 'fail');
  if (json) parts.result(JSON.stringify({ ok, findings }));
  return ok;
}

async function storeFindings(parts: DoctorParts): Promise<readonly DoctorFinding[]> {
  let store: ObjectStore;
  try {
    store = await parts.openStore();
  } catch (error) {
    return [finding('store', 'fail', errorMessage(error).split('\n', 1)[0] ?? '')];
  }
  try {
    return await examineStore({ ...parts, store });
  } finally {
    await store.close();
  }
}

function diskFindings({ dataDir, cacheDir }: Settings, parts: DoctorParts): DoctorFinding[] {
  const cache = examineDirectory('--cache-dir', cacheDir, parts);
  return cacheDir.startsWith(`${dataDir}/`)
    ? cache
    : [...examineDirectory('--data-dir', dataDir, parts), ...cache];
}

function tlsFindings(settings: Settings, clock: Clock): DoctorFinding[] {
  const findings: DoctorFinding[] = [];
  try {
    readTokenKeys(settings.authToken);
  } catch (error) {
    findings.push(finding('tls', 'fail', errorMessage(error)));
  }
  const { tls } = settings;
  if (tls === undefined) {
    const open = settings.listenClientUrls.filter((url) => !isLoopback(url));
    if (open.length === 0) return findings;
    const text = `${open.join(', ')}: without TLS, who reaches it reads and writes everything; see --cert-file`;
    return [...findings, finding('tls', 'warn', text)];
  }
  try {
    readTlsFiles(tls.files);
  } catch (error) {
    return [...findings, finding('tls', 'fail', errorMessage(error))];
  }
  const certificate = new X509Certificate(readFileSync(tls.files.certFile));
  findings.push(
    expiryFinding('--cert-file', certificate, clock.wallMs()),
    ...nameFindings(settings, certificate),
  );
  if (tls.files.trustedCaFile !== undefined) {
    const authority = new X509Certificate(readFileSync(tls.files.trustedCaFile));
    findings.push(expiryFinding('--trusted-ca-file', authority, clock.wallMs()));
  }
  return findings;
}

function isLoopback(url: string): boolean {
  return /^(?:127\.|localhost$|\[::1\]$)/.test(new URL(url).hostname);
}

/** Whether clients that connect to what is advertised will take the certificate. */
function nameFindings(
  { advertiseClientUrls }: Settings,
  certificate: X509Certificate,
): readonly DoctorFinding[] {
  const missing = advertiseClientUrls.filter((url) => {
    const host = new URL(url).hostname.replaceAll(/[[\]]/g, '');
    return certificate.checkHost(host) === undefined && certificate.checkIP(host) === undefined;
  });
  return missing.map((url) =>
    finding(
      'tls',
      'warn',
      `--cert-file: does not name the host of ${url}, which clients are told to connect to`,
    ),
  );
}

async function portFindings(urls: readonly string[]): Promise<readonly DoctorFinding[]> {
  return Promise.all(urls.map((url) => portFinding(url)));
}

function portFinding(url: string): Promise<DoctorFinding> {
  const { hostname, port, protocol } = new URL(url);
  const number = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE' ? 'is in use already; is a server running here?' : errorMessage(error);
      resolve(finding('ports', 'fail', `${url} ${why}`));
    });
    server.listen(number, hostname.replaceAll(/[[\]]/g, ''), () => {
      server.close(() => resolve(finding('ports', 'ok', `${url} is free`)));
    });
  });
}
