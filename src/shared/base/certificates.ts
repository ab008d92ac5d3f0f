import { X509Certificate } from 'node:crypto';

const BEGIN = '-----BEGIN CERTIFICATE-----';

/**
 * What is wrong with a PEM text of certificates, to be said after its file's name; undefined if each is one. OpenSSL
 * leaves out, or names by neither file nor place, one that is not the first.
 */
export function certificatesTrouble(pem: string): string | undefined {
  const [, ...certificates] = pem.split(BEGIN);
  const bad = certificates.findIndex((rest) => !isCertificate(BEGIN + rest));
  if (certificates.length > 0 && bad === -1) return undefined;
  const which = bad > 0 ? `: certificate ${bad + 1} of its ${certificates.length} is none` : '';
  return `is not a certificate in PEM form${which}`;
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}
