import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import { errorMessage } from '../../shared/base/errors.ts';

const decode = StreamDecoder.prototype.write;
const TOO_LARGE = /^Received message larger than max \((\d+) vs (\d+)\)$/;

/**
 * Has messages that are larger than the server takes refused in grpc-go's words, as the gateway refuses them: clients
 * know that error by its text. grpc-js has words of its own, and answers with what its decoder of messages throws,
 * before any interceptor hears of it. Does it once for the process, however often it is called.
 */
export function refuseLargeMessages(): void {
  StreamDecoder.prototype.write = function (this: StreamDecoder, data: Buffer): Buffer[] {
    try {
      return decode.call(this, data);
    } catch (error) {
      throw new Error(
        errorMessage(error).replace(TOO_LARGE, 'grpc: received message larger than max ($1 vs. $2)'),
      );
    }
  };
}
