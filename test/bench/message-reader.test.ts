import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MessageReader } from '../../bench/grpc/message-reader.ts';

function prefixed(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}

test('messages come out whole and in order, wherever the stream is cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(prefixed));
      const seen: string[] = [];
      const reader = new MessageReader((message) => seen.push(Buffer.from(message).toString('hex')));
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const end = at + cuts[turn % cuts.length]!;
        reader.push(bytes.subarray(at, end));
        at = end;
      }
      assert.deepEqual(
        seen,
        sent.map((message) => Buffer.from(message).toString('hex')),
      );
      assert.equal(reader.takeReceived(1), bytes.length);
    }),
  );
});

test('a compressed message is refused', () => {
  const reader = new MessageReader(() => {});
  assert.throws(() => reader.push(Buffer.from([1, 0, 0, 0, 0])), /compressed/);
});
