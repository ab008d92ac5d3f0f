/**
 * `Uint8Array.prototype.toBase64` of ECMAScript 2026, where node does not have it yet. protobuf-es uses it if it is
 * there when protobuf-es is loaded, and otherwise puts base64 together character by character, which takes forty times
 * as long: so the threads that make JSON of messages import this file first.
 */

interface ToBase64Options {
  readonly alphabet?: 'base64' | 'base64url';
  readonly omitPadding?: boolean;
}

/** The standard's method, by node's Buffer. */
export function toBase64(this: Uint8Array, options: ToBase64Options = {}): string {
  const { alphabet = 'base64', omitPadding = false } = options;
  const text = Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString(alphabet);
  // Buffer pads base64 and does not pad base64url.
  if (omitPadding) return text.replace(/=+$/, '');
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

if (!('toBase64' in Uint8Array.prototype)) {
  Object.defineProperty(Uint8Array.prototype, 'toBase64', {
    value: toBase64,
    writable: true,
    configurable: true,
    enumerable: false,
  });
}
