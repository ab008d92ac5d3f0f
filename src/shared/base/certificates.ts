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

/** When a certificate begins and ends to be valid, as OpenSSL writes it. */
export interface Validity {
  readonly validFrom: string;
  readonly validTo: string;
}

/** Why a certificate is not valid at this time (Unix, in milliseconds), to be said after its name; undefined when it is. */
export function validityTrouble({ validFrom, validTo }: Validity, nowMs: number): string | undefined {
  if (Date.parse(validFrom) > nowMs) return `is valid only from ${validFrom} on`;
  return Date.parse(validTo) < nowMs ? `has ended on ${validTo}` : undefined;
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}
