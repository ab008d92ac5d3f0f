import { flag, optional } from './flag.ts';
import { cipherSuites, commonNames, hostNames } from './tls-values.ts';
import { anyText, boolean, choice } from './values.ts';

/** Flags of TLS: etcd's names and meaning, and `--client-cert-allowed-cn`, which etcd has for its peers alone. */
export const TLS_FLAGS = {
  certFile: optional(
    'TLS',
    'cert-file',
    '<path>',
    anyText,
    'certificate of this server, and those between it and its authority (PEM); read again when it changes, like all of these files',
  ),
  keyFile: optional('TLS', 'key-file', '<path>', anyText, 'private key of the certificate (PEM)'),
  trustedCaFile: optional(
    'TLS',
    'trusted-ca-file',
    '<path>',
    anyText,
    'authorities (PEM) that sign client certificates; giving it requires one, as in etcd',
  ),
  clientCertAuth: flag(
    'TLS',
    'client-cert-auth',
    '[true|false]',
    boolean,
    'require a client certificate signed by --trusted-ca-file; its common name is a user’s, once auth is enabled',
    'false',
  ),
  clientCertAllowedCn: optional(
    'TLS',
    'client-cert-allowed-cn',
    '<names>',
    commonNames,
    'serve only clients whose certificate has one of these common names; comma-separated',
  ),
  clientCertAllowedHostname: optional(
    'TLS',
    'client-cert-allowed-hostname',
    '<names>',
    hostNames,
    'serve only clients whose certificate is for one of these host names or IP addresses (SAN); comma-separated',
  ),
  clientCrlFile: optional(
    'TLS',
    'client-crl-file',
    '<path>',
    anyText,
    'revoked client certificates (CRLs, PEM or DER), one list of each authority',
  ),
  tlsMinVersion: flag(
    'TLS',
    'tls-min-version',
    '<version>',
    choice('TLS1.2', 'TLS1.3'),
    'oldest TLS that is spoken: TLS1.2 or TLS1.3',
    'TLS1.2',
  ),
  tlsMaxVersion: flag(
    'TLS',
    'tls-max-version',
    '<version>',
    choice('TLS1.2', 'TLS1.3'),
    'newest TLS that is spoken: TLS1.2 or TLS1.3',
    'TLS1.3',
  ),
  cipherSuites: optional(
    'TLS',
    'cipher-suites',
    '<names>',
    cipherSuites,
    'cipher suites of TLS 1.2, such as TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384; comma-separated; those of TLS 1.3 are fixed',
  ),
  insecure: flag(
    'TLS',
    'insecure',
    '[true|false]',
    boolean,
    'allow http:// on addresses other than loopback: whoever is on the way can read and change everything',
    'false',
  ),
};
