import { checkTxnAllowed } from '../../shared/auth/requests.ts';
import { type AuthInfo, NOBODY } from '../../shared/auth/state.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import {
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  type TxnRequest,
} from '../../shared/etcd/requests.ts';
import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../shared/etcd/validate.ts';
import { ReadKind } from '../../workers/contract/reader.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { Caller } from './caller.ts';
import { asCaller, freshReply, needing } from './guard.ts';
import type { KvParts } from './kv.ts';
import type { Reply, ServiceHandlers, UnaryCall } from './service.ts';
import { wantedBy } from './wanted.ts';

const NO_RESPONSE = new Uint8Array(0);

/**
 * etcd's KV service while auth is enabled, around the handlers `open`. Reads are checked here, when they have passed the gate, against what is
 * durable; writes by the writer, in their turn among the changes of users and roles. Either way a request is checked
 * for its form first, then for its token, then for what its user may do.
 */
export function checkedKvHandlers(parts: KvParts, open: ServiceHandlers): ServiceHandlers {
  const { maxTxnOps, guard } = parts;
  return {
    unary: {
      Range: (request, reply, caller) => {
        const range = decodeRangeRequest(request);
        checkRange(range);
        const check = (info: AuthInfo): void => guard.state.checkRead(info, range);
        read(parts, ReadKind.Range, { request, reply, caller, check }, range.serializable);
      },
      Put: write(parts, WriteKind.Put, (request) => checkPut(decodePutRequest(request))),
      DeleteRange: write(parts, WriteKind.DeleteRange, (request) =>
        checkDeleteRange(decodeDeleteRangeRequest(request)),
      ),
      Txn: (request, reply, caller) => {
        const txn = decodeTxnRequest(request);
        const checkForm = (): void => checkTxn(txn, maxTxnOps);
        if (isRead(txn)) {
          checkForm();
          const check = (info: AuthInfo): void => checkTxnAllowed(guard.state, info, txn, () => []);
          read(parts, ReadKind.Txn, { request, reply, caller, check }, false);
        } else write(parts, WriteKind.Txn, checkForm)(request, reply, caller);
      },
      Compact: needing(guard, () => 'root', open.unary!['Compact']!),
    },
  };
}

/**
 * What etcd reads without its log, so that a token must be as new as the auth store. A transaction in it makes it a
 * write there, whatever it does.
 */
function isRead({ success, failure }: TxnRequest): boolean {
  return [...success, ...failure].every(({ kind }) => kind === 'range');
}

interface CheckedRead {
  request: Buffer;
  reply: Reply;
  caller: UnaryCall;
  /** Throws unless this caller may read it. */
  check(info: AuthInfo): void;
}

function read(parts: KvParts, kind: ReadKind, read: CheckedRead, serializable: boolean): void {
  const { request, reply, caller, check } = read;
  const { gate, guard, readers } = parts;
  const fail = (error: Error): void => reply(error, NO_RESPONSE);
  const wanted = wantedBy(caller);
  gate.enter((error) => {
    if (error !== undefined) return fail(error);
    guard.identify(caller, fail, (known) => {
      const info = known ?? NOBODY;
      check(info);
      readers.read(kind, request, freshReply(guard, info, reply), wanted);
    });
  }, serializable);
}

/** A write's handler. The writer checks its form; here that is done only to say what is wrong in etcd's order. */
function write(
  parts: KvParts,
  kind: WriteKind,
  checkForm: (request: Buffer) => void,
): (request: Buffer, reply: Reply, caller: Caller) => void {
  const { guard, maxRequestBytes, submit } = parts;
  return (request, reply, caller) => {
    const fail = (error: Error): void => reply(wrongForm(checkForm, request) ?? error, NO_RESPONSE);
    guard.identify(caller, fail, (info) => {
      if (request.length > maxRequestBytes) reply(new EtcdError('RequestTooLarge'), NO_RESPONSE);
      else submit(...asCaller(info, kind, request), reply);
    });
  };
}

function wrongForm(checkForm: (request: Buffer) => void, request: Buffer): Error | undefined {
  try {
    checkForm(request);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
