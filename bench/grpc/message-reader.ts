/** Cuts the data of one gRPC stream into messages ("gRPC over HTTP2": Length-Prefixed-Message). */
export class MessageReader {
  private readonly onMessage: (message: Uint8Array) => void;
  /** What is not a whole message yet. */
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  /** Bytes that are needed before the next message can be cut. */
  private needed = 5;
  private received = 0;

  constructor(onMessage: (message: Uint8Array) => void) {
    this.onMessage = onMessage;
  }

  /** The messages are views of the bytes pushed, to be used or copied at once. Throws on a compressed message. */
  push(payload: Buffer): void {
    this.received += payload.length;
    this.pieces.push(payload);
    this.pieceBytes += payload.length;
    if (this.pieceBytes < this.needed) return;
    const bytes = this.pieces.length === 1 ? payload : Buffer.concat(this.pieces);
    const rest = bytes.subarray(this.cut(bytes));
    this.pieces = rest.length === 0 ? [] : [rest];
    this.pieceBytes = rest.length;
  }

  /** Bytes received since the last call that returned any, once they are at least `step`; else 0. */
  takeReceived(step: number): number {
    if (this.received < step) return 0;
    const { received } = this;
    this.received = 0;
    return received;
  }

  private cut(bytes: Buffer): number {
    let at = 0;
    while (bytes.length - at >= 5) {
      if (bytes[at] !== 0) throw new Error('a compressed gRPC message');
      const end = at + 5 + bytes.readUInt32BE(at + 1);
      if (bytes.length < end) {
        this.needed = end - at;
        return at;
      }
      this.onMessage(bytes.subarray(at + 5, end));
      at = end;
    }
    this.needed = 5;
    return at;
  }
}
