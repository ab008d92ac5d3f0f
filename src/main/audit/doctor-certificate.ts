import { type DoctorFinding, finding } from './doctor-finding.ts';

const DAY_MS = 86_400_000;
const EXPIRY_WARN_DAYS = 21;

/** When a certificate begins and ends to be valid, as OpenSSL writes it. */
interface Validity {
  readonly validFrom: string;
  readonly validTo: string;
}

/** Whether the certificate that a flag names is valid, and for how long. */
export function expiryFinding(flag: string, { validFrom, validTo }: Validity, nowMs: number): DoctorFinding {
  const days = Math.floor((Date.parse(validTo) - nowMs) / DAY_MS);
  if (Date.parse(validFrom) > nowMs) {
    const advice = 'is this machine’s clock right?';
    return finding('tls', 'fail', `${flag}: is valid only from ${validFrom} on; ${advice}`);
  }
  if (days < 0) return finding('tls', 'fail', `${flag}: has ended on ${validTo}; renew it`);
  const text = `${flag}: is valid for ${days} more days, until ${validTo}`;
  return days < EXPIRY_WARN_DAYS ? finding('tls', 'warn', `${text}; renew it`) : finding('tls', 'ok', text);
}
