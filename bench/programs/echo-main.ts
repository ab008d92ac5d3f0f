import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from '@grpc/grpc-js';

/**
 * `node echo-main.js PORT`: grpc-js and nothing behind it. It takes the same messages as a server does and answers
 * with messages of the same size, without looking into them: the ceiling of the library that netsy is built on.
 */

const bytes = (message: Buffer): Buffer => message;

function unary(path: string): ServiceDefinition[string] {
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
}

const delimited = (field: number, content: Buffer): Buffer => {
  const length =
    content.length < 128 ? [content.length] : [(content.length & 127) | 128, content.length >> 7];
  return Buffer.concat([Buffer.of((field << 3) | 2, ...length), content]);
};

/** ResponseHeader: cluster_id, member_id, revision and raft_term, of the lengths that they have in a server. */
const header = delimited(
  1,
  Buffer.concat([
    Buffer.from('08ffffffffffffffff7f', 'hex'),
    Buffer.from('10ffffffffffffffff7f', 'hex'),
    Buffer.from('18c0843d', 'hex'),
    Buffer.from('2002', 'hex'),
  ]),
);
/** TxnResponse: header, succeeded, one ResponseOp with an empty PutResponse but for its revision. */
const txnAnswer = Buffer.concat([
  header,
  Buffer.of(0x10, 1),
  delimited(3, delimited(2, delimited(1, Buffer.from('18c0843d', 'hex')))),
]);
/** RangeResponse: header, one KeyValue with a value of 1 KiB, count. */
const keyValue = Buffer.concat([
  delimited(1, Buffer.alloc(60, 'k')),
  Buffer.from('10c0843d18c0843d2001', 'hex'),
  delimited(5, Buffer.alloc(1024, 'v')),
]);
const rangeAnswer = Buffer.concat([header, delimited(2, keyValue), Buffer.of(0x20, 1)]);

const answerWith =
  (answer: Buffer): UntypedHandleCall =>
  (_call: unknown, callback: (error: null, answer: Buffer) => void) =>
    callback(null, answer);

const server = new Server({ 'grpc.enable_channelz': 0 });
server.addService(
  { Range: unary('/etcdserverpb.KV/Range'), Txn: unary('/etcdserverpb.KV/Txn') },
  { Range: answerWith(rangeAnswer), Txn: answerWith(txnAnswer) },
);
server.bindAsync(`127.0.0.1:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (!error) return;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
process.once('SIGTERM', () => server.forceShutdown());
// The bench holds our stdin: when it is gone, however it ended, so are we.
process.stdin.on('end', () => process.exit()).resume();
