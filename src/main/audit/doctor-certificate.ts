import { type Validity, validityTrouble } from '../../shared/base/certificates.ts';
import { type DoctorFinding, finding } from './doctor-finding.ts';

const DAY_MS = 86_400_000;
const EXPIRY_WARN_DAYS = 21;

/** Whether the certificate that a flag names is valid, and for how long. */
export function expiryFinding(flag: string, validity: Validity, nowMs: number): DoctorFinding {
  const { validFrom, validTo } = validity;
  const trouble = validityTrouble(validity, nowMs);
  if (trouble !== undefined) {
    const advice = Date.parse(validFrom) > nowMs ? 'is this machine’s clock right?' : 'renew it';
    return finding('tls', 'fail', `${flag}: ${trouble}; ${advice}`);
  }
  const days = Math.floor((Date.parse(validTo) - nowMs) / DAY_MS);
  const text = `${flag}: is valid for ${days} more days, until ${validTo}`;
  return days < EXPIRY_WARN_DAYS ? finding('tls', 'warn', `${text}; renew it`) : finding('tls', 'ok', text);
}
