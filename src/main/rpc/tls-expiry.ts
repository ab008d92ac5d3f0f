import { X509Certificate } from 'node:crypto';
import type { TlsMaterial } from './tls-files.ts';

/** When the files of TLS run out, as Unix time in seconds; of those that are there. */
export interface TlsExpiries {
  /** The first to end of the server's certificate and those that come with it. */
  readonly certificate: number;
  /** The last to end: from then on nobody is let in. A bundle may well have one that has ended. */
  readonly authority?: number;
  /** The first to end: from then on its authority's clients are refused. */
  readonly revocation_list?: number;
}

/** `material` was checked when it was read. */
export function tlsExpiries({ cert, ca, crl }: TlsMaterial): TlsExpiries {
  const lists = (crl ?? []).map(nextUpdateSeconds).filter((seconds) => seconds !== undefined);
  return {
    certificate: Math.min(...validTo(cert)),
    ...(ca && { authority: Math.max(...validTo(ca)) }),
    ...(lists.length > 0 && { revocation_list: Math.min(...lists) }),
  };
}

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function validTo(pem: Buffer): number[] {
  const each = pem.toString('latin1').match(CERTIFICATES) ?? [];
  return each.map((one) => Date.parse(new X509Certificate(one).validTo) / 1000);
}

const TAG = { integer: 0x02, sequence: 0x30, utcTime: 0x17, generalizedTime: 0x18 } as const;

/** `nextUpdate` of a list in PEM, which node does not tell; undefined when it has none that can be read. */
function nextUpdateSeconds(pem: string): number | undefined {
  try {
    return readNextUpdate(pem);
  } catch {
    // OpenSSL has taken the list, and judges its end; this is told, no more.
    return undefined;
  }
}

/** See RFC 5280, section 5.1. */
function readNextUpdate(pem: string): number | undefined {
  const der = Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
  const list = firstElement(der).content;
  let rest = firstElement(list).content;
  const times: number[] = [];
  // Version, algorithm, issuer, thisUpdate, nextUpdate; what follows is none of these.
  while (rest.length > 0 && times.length < 2) {
    const { tag, content, bytes } = firstElement(rest);
    if (tag === TAG.utcTime || tag === TAG.generalizedTime) times.push(timeSeconds(tag, content));
    else if (times.length > 0 || (tag !== TAG.integer && tag !== TAG.sequence)) break;
    rest = rest.subarray(bytes);
  }
  return times[1];
}

/** The first element of DER: its tag, its content, and how many bytes it takes. */
function firstElement(der: Buffer): { tag: number; content: Buffer; bytes: number } {
  const tag = der.readUInt8(0);
  const short = der.readUInt8(1);
  const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
  const length = lengthBytes === 0 ? short : der.readUIntBE(2, lengthBytes);
  const begin = 2 + lengthBytes;
  return { tag, content: der.subarray(begin, begin + length), bytes: begin + length };
}

/** `YYMMDDHHMMSSZ` (50 to 49 are 1950 to 2049) or `YYYYMMDDHHMMSSZ`. */
function timeSeconds(tag: number, content: Buffer): number {
  const text = content.toString('latin1');
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19';
  const full = tag === TAG.utcTime ? century + text : text;
  const [year, month, day, hour, minute, second] = [0, 4, 6, 8, 10, 12].map((at) =>
    Number(full.slice(at, at + (at === 0 ? 4 : 2))),
  ) as [number, number, number, number, number, number];
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
}
