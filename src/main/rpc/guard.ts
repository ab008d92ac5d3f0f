import { type AuthInfo, type AuthState, NOBODY } from '../../shared/auth/state.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { encodeCalledWrite } from '../../workers/contract/caller.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { AuthStore } from '../auth/store.ts';
import { type Caller, credentialsOf } from './caller.ts';
import type { Need, Needs } from './needs.ts';
import { checkMessage, failStream, type Reply, type ServiceHandlers, type StreamingCall } from './service.ts';

type UnaryHandler = NonNullable<ServiceHandlers['unary']>[string];
type StreamHandler = (call: StreamingCall) => void;

const NO_RESPONSE = new Uint8Array(0);

/** Asks of calls who makes them and whether he may. Handlers ask it only while auth is enabled. */
export class Guard {
  readonly #store: AuthStore;
  readonly #clientCertAuth: boolean;

  /** `clientCertAuth`: every client has shown a certificate, whose common name is a user's. */
  constructor(store: AuthStore, clientCertAuth: boolean) {
    this.#store = store;
    this.#clientCertAuth = clientCertAuth;
  }

  /** While false, nobody need be asked. */
  get enabled(): boolean {
    return this.#store.enabled;
  }

  get state(): AuthState {
    return this.#store.state;
  }

  /**
   * Goes on with who calls, undefined for nobody; at once unless a signature has to be verified. `fail` is told
   * that the token is not valid, or what `go` throws.
   */
  identify(caller: Caller, fail: (error: Error) => void, go: (info: AuthInfo | undefined) => void): void {
    this.#store.identify(credentialsOf(caller, this.#clientCertAuth), (error, info) => {
      try {
        if (error === undefined) go(info);
        else fail(error);
      } catch (thrown) {
        fail(thrown as Error);
      }
    });
  }

  /** As `identify`, as a promise; whoever shows nothing is `NOBODY`. */
  whoIs(caller: Caller): Promise<AuthInfo> {
    return new Promise((resolve, reject) => {
      this.identify(caller, reject, (info) => resolve(info ?? NOBODY));
    });
  }

  /** Throws etcd's error unless the caller is what the call needs. */
  check(need: Need, info: AuthInfo | undefined): void {
    if (need === 'root') this.state.checkAdmin(info);
    else if (info === undefined && this.enabled) throw new EtcdError('UserEmpty');
  }

  /** Throws if the auth store was changed since the caller was identified, so that what was read may be stale. */
  checkFresh(info: AuthInfo): void {
    if (info.revision !== 0 && info.revision !== this.state.revision) throw new EtcdError('AuthOldRevision');
  }
}

/** A write in its caller's name, for `submit`. */
export function asCaller(
  info: AuthInfo | undefined,
  kind: WriteKind,
  request: Uint8Array,
): readonly [WriteKind, Uint8Array] {
  return [WriteKind.As, encodeCalledWrite({ kind, info: info ?? NOBODY, request })];
}

/** The handlers `open` while auth is disabled, and `checked` where it has a method while auth is enabled. */
export function checkedWhileEnabled(
  guard: Guard,
  open: ServiceHandlers,
  checked: ServiceHandlers,
): ServiceHandlers {
  return {
    unary: choosing(open.unary, checked.unary, (free, careful): UnaryHandler => {
      return (request, reply, caller) => (guard.enabled ? careful : free)(request, reply, caller);
    }),
    serverStream: choosing(open.serverStream, checked.serverStream, (free, careful) => {
      return (call) => (guard.enabled ? careful : free)(call);
    }),
    duplex: choosing(open.duplex, checked.duplex, (free, careful) => {
      return (call) => (guard.enabled ? careful : free)(call);
    }),
  };
}

function choosing<H>(
  open: Record<string, H> | undefined,
  checked: Record<string, H> | undefined,
  either: (open: H, checked: H) => H,
): Record<string, H> {
  const entries = Object.entries(open ?? {}).map(([name, free]): [string, H] => {
    const careful = checked?.[name];
    return [name, careful === undefined ? free : either(free, careful)];
  });
  return Object.fromEntries(entries);
}

/**
 * `handlers`, of which those that `needs` names ask for what it says before they do anything.
 */
export function guarded(guard: Guard, handlers: ServiceHandlers, needs: Needs): ServiceHandlers {
  const checked: ServiceHandlers = { unary: {}, serverStream: {} };
  for (const [name, need] of Object.entries(needs)) {
    const needOf = typeof need === 'function' ? need : (): Need => need;
    const unary = handlers.unary?.[name];
    const stream = handlers.serverStream?.[name];
    if (unary !== undefined) checked.unary![name] = needing(guard, needOf, unary);
    if (stream !== undefined) checked.serverStream![name] = streamNeeding(guard, needOf, stream);
  }
  return checkedWhileEnabled(guard, handlers, checked);
}

/** A handler that asks first. What can't be decoded is refused before anything else, as by etcd. */
export function needing(guard: Guard, needOf: (request: Buffer) => Need, handle: UnaryHandler): UnaryHandler {
  return (request, reply, caller) => {
    checkMessage(request);
    const fail = (error: Error): void => reply(error, NO_RESPONSE);
    guard.identify(caller, fail, (info) => {
      guard.check(needOf(request), info);
      handle(request, reply, caller);
    });
  };
}

function streamNeeding(
  guard: Guard,
  needOf: (request: Buffer) => Need,
  handle: StreamHandler,
): StreamHandler {
  return (call) => {
    const fail = (error: Error): void => failStream(call, error);
    guard.identify(call, fail, (info) => {
      guard.check(needOf(call.request), info);
      handle(call);
    });
  };
}

/** A reply that is refused if the auth store was changed since the caller was identified. */
export function freshReply(guard: Guard, info: AuthInfo, reply: Reply): Reply {
  return (error, response) => {
    try {
      guard.checkFresh(info);
      reply(error, response);
    } catch (stale) {
      reply(stale as Error, NO_RESPONSE);
    }
  };
}
