import { BlockList, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import type { AllowedClients } from '../rpc/client-names.ts';
import type { FlagValues } from './flags.ts';
import { SettingsError, type TlsSettings } from './settings.ts';

/** Joins the TLS flags; undefined when no listen URL is https. Throws `SettingsError` where they don't fit together. */
export function tlsOf(values: FlagValues): TlsSettings | undefined {
  const { certFile, keyFile, trustedCaFile, clientCrlFile } = values;
  checkPlainText(values);
  checkPair(values);
  checkClients(values);
  const secure = listenUrls(values).find(({ url }) => url.startsWith('https:'));
  if (secure === undefined) {
    if (trustedCaFile === undefined) return undefined;
    throw new SettingsError(
      '--trusted-ca-file: no listen URL uses TLS; use https:// in --listen-client-urls',
    );
  }
  if (certFile === undefined || keyFile === undefined) {
    throw new SettingsError(`${secure.flag}: ${secure.url} needs --cert-file and --key-file`);
  }
  checkVersions(values);
  return {
    files: {
      certFile: resolve(certFile),
      keyFile: resolve(keyFile),
      trustedCaFile: trustedCaFile && resolve(trustedCaFile),
      clientCrlFile: clientCrlFile && resolve(clientCrlFile),
    },
    clientCertAuth: values.clientCertAuth,
    allowedClients: allowedClients(values),
    rules: {
      minVersion: NODE_VERSIONS[values.tlsMinVersion],
      maxVersion: NODE_VERSIONS[values.tlsMaxVersion],
      ciphers: values.cipherSuites,
    },
  };
}

const NODE_VERSIONS = { 'TLS1.2': 'TLSv1.2', 'TLS1.3': 'TLSv1.3' } as const;

function listenUrls({
  listenClientUrls,
  listenMetricsUrls = [],
}: FlagValues): { flag: string; url: string }[] {
  return [
    ...listenClientUrls.map((url) => ({ flag: '--listen-client-urls', url })),
    ...listenMetricsUrls.map((url) => ({ flag: '--listen-metrics-urls', url })),
  ];
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** Keys, values and passwords cross a network unencrypted only when somebody has said so. */
function checkPlainText(values: FlagValues): void {
  if (values.insecure) return;
  const plain = listenUrls(values).find(({ url }) => url.startsWith('http:') && !isLoopback(url));
  if (plain === undefined) return;
  throw new SettingsError(
    `${plain.flag}: ${plain.url} would serve other machines without TLS; use https:// with --cert-file and --key-file, or add --insecure`,
  );
}

function isLoopback(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

function checkPair({ certFile, keyFile }: FlagValues): void {
  if (certFile !== undefined && keyFile === undefined) {
    throw new SettingsError('--cert-file: needs --key-file, the private key of that certificate');
  }
  if (keyFile !== undefined && certFile === undefined) {
    throw new SettingsError('--key-file: needs --cert-file, the certificate of that key');
  }
}

function checkClients(values: FlagValues): void {
  const { clientCertAllowedCn, clientCertAllowedHostname } = values;
  const asked = [
    ['--client-cert-auth', values.clientCertAuth],
    ['--client-cert-allowed-cn', clientCertAllowedCn !== undefined],
    ['--client-cert-allowed-hostname', clientCertAllowedHostname !== undefined],
    ['--client-crl-file', values.clientCrlFile !== undefined],
  ] as const;
  const [unmet] = asked.find(([, given]) => given) ?? [];
  if (unmet !== undefined && values.trustedCaFile === undefined) {
    throw new SettingsError(`${unmet}: needs --trusted-ca-file, who signs client certificates`);
  }
  if (clientCertAllowedCn !== undefined && clientCertAllowedHostname !== undefined) {
    throw new SettingsError(
      '--client-cert-allowed-cn: can not be used with --client-cert-allowed-hostname; drop one of them',
    );
  }
}

function allowedClients(values: FlagValues): AllowedClients | undefined {
  const { clientCertAllowedCn: commonNames, clientCertAllowedHostname: hostNames } = values;
  if (commonNames !== undefined) return { by: 'common name', names: commonNames };
  return hostNames && { by: 'host name', names: hostNames };
}

function checkVersions({ tlsMinVersion, tlsMaxVersion, cipherSuites }: FlagValues): void {
  if (tlsMinVersion > tlsMaxVersion) {
    throw new SettingsError(`--tls-min-version: ${tlsMinVersion} is newer than --tls-max-version`);
  }
  if (cipherSuites !== undefined && tlsMinVersion === 'TLS1.3') {
    throw new SettingsError(
      '--cipher-suites: those of TLS 1.3 are fixed; drop it, or use --tls-min-version TLS1.2',
    );
  }
}
