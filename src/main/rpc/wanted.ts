import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { AnswerRoom, Wanted } from '../state/answer-rooms.ts';
import type { StreamingCall, UnaryCall } from './service.ts';
import { SocketCall } from './unary-call.ts';

/**
 * The rooms of connections for answers of calls that grpc-js serves. It hands an answer to node, which keeps it with the
 * stream until the client has taken it: so it has left when the stream is closed.
 */
const rooms = new WeakMap<ServerHttp2Session, AnswerRoom>();

/** What is looked at of a call. */
type AnyCall = Partial<Pick<UnaryCall | StreamingCall, 'cancelled'>>;

/** Gives a session room for its answers. Those without are this process's own, and bounded by who makes their calls. */
export function giveRoom(session: ServerHttp2Session, room: AnswerRoom): void {
  rooms.set(session, room);
  session.once('close', () => room.close());
}

/** What a call is wanted for; undefined if its answer needs no room. */
export function wantedBy(call: AnyCall): Wanted | undefined {
  if (call instanceof SocketCall) return call;
  const room = roomOf(call);
  return (
    room && {
      room,
      get gone() {
        return call.cancelled ?? false;
      },
    }
  );
}

/** Counts an answer of grpc-js's until its stream is closed. */
export function fillRoom(call: UnaryCall, bytes: number): void {
  const room = roomOf(call);
  const stream = streamOf(call);
  if (room === undefined || stream === undefined || stream.closed) return;
  room.fill(bytes);
  stream.once('close', () => room.empty(bytes));
}

/** Room that is taken before what fills it is there. */
export interface ReservedRoom {
  /** How large it is. */
  resize(bytes: number): void;
  /** It has left. */
  leave(): void;
}

/** Waits until there is room and takes `bytes` of it at once. Rejects when nobody waits for it any more. */
export function reserveRoom(wanted: Wanted | undefined, bytes: number): Promise<ReservedRoom> {
  if (wanted === undefined) return Promise.resolve({ resize: () => {}, leave: () => {} });
  const { room } = wanted;
  let filled = bytes;
  const reserved: ReservedRoom = {
    resize: (now) => {
      // In this order, lest somebody else takes it between.
      room.fill(now);
      room.empty(filled);
      filled = now;
    },
    leave: () => room.empty(filled),
  };
  return new Promise((resolve, reject) => {
    const drop = (): void => reject(new EtcdError('Canceled'));
    const go = (): void => {
      if (room.isFull(false)) return room.wait({ wanted, go, drop }, false);
      room.fill(filled);
      resolve(reserved);
    };
    go();
  });
}

function roomOf(call: AnyCall): AnswerRoom | undefined {
  const session = streamOf(call)?.session;
  return session && rooms.get(session as ServerHttp2Session);
}

/** From grpc-js's private parts; a test watches that it is there. */
function streamOf(call: AnyCall): ServerHttp2Stream | undefined {
  return (call as { call?: { stream?: ServerHttp2Stream } }).call?.stream;
}
