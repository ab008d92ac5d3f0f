/**
 * etcd's gRPC errors: names, codes and texts of etcd 3.7's api/v3rpc/rpctypes/error.go. Clients compare the
 * texts (kube-apiserver does), so they are exact.
 */

/** gRPC's status codes, from grpc/doc/statuscodes.md. */
export const GrpcCode = {
  OK: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
export type GrpcCode = (typeof GrpcCode)[keyof typeof GrpcCode];

/** Each error under etcd's name for it, without `ErrGRPC`. */
const TABLE = {
  EmptyKey: [GrpcCode.InvalidArgument, 'etcdserver: key is not provided'],
  KeyNotFound: [GrpcCode.InvalidArgument, 'etcdserver: key not found'],
  ValueProvided: [GrpcCode.InvalidArgument, 'etcdserver: value is provided'],
  LeaseProvided: [GrpcCode.InvalidArgument, 'etcdserver: lease is provided'],
  TooManyOps: [GrpcCode.InvalidArgument, 'etcdserver: too many operations in txn request'],
  DuplicateKey: [GrpcCode.InvalidArgument, 'etcdserver: duplicate key given in txn request'],
  InvalidClientAPIVersion: [GrpcCode.InvalidArgument, 'etcdserver: invalid client api version'],
  InvalidSortOption: [GrpcCode.InvalidArgument, 'etcdserver: invalid sort option'],
  Compacted: [GrpcCode.OutOfRange, 'etcdserver: mvcc: required revision has been compacted'],
  FutureRev: [GrpcCode.OutOfRange, 'etcdserver: mvcc: required revision is a future revision'],
  NoSpace: [GrpcCode.ResourceExhausted, 'etcdserver: mvcc: database space exceeded'],
  LeaseNotFound: [GrpcCode.NotFound, 'etcdserver: requested lease not found'],
  LeaseExist: [GrpcCode.FailedPrecondition, 'etcdserver: lease already exists'],
  LeaseTTLTooLarge: [GrpcCode.OutOfRange, 'etcdserver: too large lease TTL'],
  WatchCanceled: [GrpcCode.Canceled, 'etcdserver: watch canceled'],
  MemberExist: [GrpcCode.FailedPrecondition, 'etcdserver: member ID already exist'],
  PeerURLExist: [GrpcCode.FailedPrecondition, 'etcdserver: Peer URLs already exists'],
  MemberNotEnoughStarted: [
    GrpcCode.FailedPrecondition,
    'etcdserver: re-configuration failed due to not enough started members',
  ],
  MemberBadURLs: [GrpcCode.InvalidArgument, 'etcdserver: given member URLs are invalid'],
  MemberNotFound: [GrpcCode.NotFound, 'etcdserver: member not found'],
  MemberNotLearner: [GrpcCode.FailedPrecondition, 'etcdserver: can only promote a learner member'],
  LearnerNotReady: [
    GrpcCode.FailedPrecondition,
    'etcdserver: can only promote a learner member which is in sync with leader',
  ],
  TooManyLearners: [GrpcCode.FailedPrecondition, 'etcdserver: too many learner members in cluster'],
  ClusterIDMismatch: [GrpcCode.FailedPrecondition, 'etcdserver: cluster ID mismatch'],
  RequestTooLarge: [GrpcCode.InvalidArgument, 'etcdserver: request is too large'],
  RequestTooManyRequests: [GrpcCode.ResourceExhausted, 'etcdserver: too many requests'],
  RootUserNotExist: [GrpcCode.FailedPrecondition, 'etcdserver: root user does not exist'],
  RootRoleNotExist: [GrpcCode.FailedPrecondition, 'etcdserver: root user does not have root role'],
  UserAlreadyExist: [GrpcCode.FailedPrecondition, 'etcdserver: user name already exists'],
  UserEmpty: [GrpcCode.InvalidArgument, 'etcdserver: user name is empty'],
  UserNotFound: [GrpcCode.FailedPrecondition, 'etcdserver: user name not found'],
  RoleAlreadyExist: [GrpcCode.FailedPrecondition, 'etcdserver: role name already exists'],
  RoleNotFound: [GrpcCode.FailedPrecondition, 'etcdserver: role name not found'],
  RoleEmpty: [GrpcCode.InvalidArgument, 'etcdserver: role name is empty'],
  AuthFailed: [GrpcCode.InvalidArgument, 'etcdserver: authentication failed, invalid user ID or password'],
  PermissionNotGiven: [GrpcCode.InvalidArgument, 'etcdserver: permission not given'],
  PermissionDenied: [GrpcCode.PermissionDenied, 'etcdserver: permission denied'],
  RoleNotGranted: [GrpcCode.FailedPrecondition, 'etcdserver: role is not granted to the user'],
  PermissionNotGranted: [GrpcCode.FailedPrecondition, 'etcdserver: permission is not granted to the role'],
  AuthNotEnabled: [GrpcCode.FailedPrecondition, 'etcdserver: authentication is not enabled'],
  InvalidAuthToken: [GrpcCode.Unauthenticated, 'etcdserver: invalid auth token'],
  InvalidAuthMgmt: [GrpcCode.InvalidArgument, 'etcdserver: invalid auth management'],
  AuthOldRevision: [GrpcCode.InvalidArgument, 'etcdserver: revision of auth store is old'],
  NoLeader: [GrpcCode.Unavailable, 'etcdserver: no leader'],
  NotLeader: [GrpcCode.FailedPrecondition, 'etcdserver: not leader'],
  LeaderChanged: [GrpcCode.Unavailable, 'etcdserver: leader changed'],
  NotCapable: [GrpcCode.FailedPrecondition, 'etcdserver: not capable'],
  Stopped: [GrpcCode.Unavailable, 'etcdserver: server stopped'],
  Timeout: [GrpcCode.Unavailable, 'etcdserver: request timed out'],
  TimeoutDueToLeaderFail: [
    GrpcCode.Unavailable,
    'etcdserver: request timed out, possibly due to previous leader failure',
  ],
  TimeoutDueToConnectionLost: [
    GrpcCode.Unavailable,
    'etcdserver: request timed out, possibly due to connection lost',
  ],
  TimeoutWaitAppliedIndex: [
    GrpcCode.Unavailable,
    'etcdserver: request timed out, waiting for the applied index took too long',
  ],
  Unhealthy: [GrpcCode.Unavailable, 'etcdserver: unhealthy cluster'],
  Corrupt: [GrpcCode.DataLoss, 'etcdserver: corrupt cluster'],
  NotSupportedForLearner: [GrpcCode.FailedPrecondition, 'etcdserver: rpc not supported for learner'],
  BadLeaderTransferee: [GrpcCode.FailedPrecondition, 'etcdserver: bad leader transferee'],
  WrongDowngradeVersionFormat: [
    GrpcCode.InvalidArgument,
    'etcdserver: wrong downgrade target version format',
  ],
  InvalidDowngradeTargetVersion: [GrpcCode.InvalidArgument, 'etcdserver: invalid downgrade target version'],
  ClusterVersionUnavailable: [
    GrpcCode.FailedPrecondition,
    'etcdserver: cluster version not found during downgrade',
  ],
  DowngradeInProcess: [GrpcCode.FailedPrecondition, 'etcdserver: cluster has a downgrade job in progress'],
  NoInflightDowngrade: [GrpcCode.FailedPrecondition, 'etcdserver: no inflight downgrade job'],
  Canceled: [GrpcCode.Canceled, 'etcdserver: request canceled'],
  DeadlineExceeded: [GrpcCode.DeadlineExceeded, 'etcdserver: context deadline exceeded'],
  // Errors of etcd's auth store that its rpctypes have no name for: they reach clients as they are, with UNKNOWN.
  NoPasswordUser: [GrpcCode.Unknown, 'auth: authentication failed, password was given for no password user'],
  VerifyOnly: [GrpcCode.Unknown, 'auth: token signing attempted with verify-only key'],
  PasswordTooLong: [GrpcCode.Unknown, 'bcrypt: password length exceeds 72 bytes'],
} as const satisfies Record<string, readonly [GrpcCode, string]>;

export type EtcdErrorName = keyof typeof TABLE;

const NAMES = Object.keys(TABLE) as EtcdErrorName[];
const IDS = new Map(NAMES.map((name, index) => [name, index + 1]));

/** An error that is answered to the client as it is: its message is the gRPC status message. */
export class EtcdError extends Error {
  /** etcd's name for it, without `ErrGRPC`. */
  readonly kind: EtcdErrorName;
  /** The gRPC status code. */
  readonly code: GrpcCode;

  constructor(kind: EtcdErrorName) {
    super(TABLE[kind][1]);
    this.name = 'EtcdError';
    this.kind = kind;
    this.code = TABLE[kind][0];
  }

  /** A small positive number that stands for this error between threads of one build; see `etcdErrorById`. */
  get id(): number {
    return etcdErrorId(this.kind);
  }
}

/**
 * What has no error of etcd's own: answered with this code and text. UNKNOWN is what grpc-go makes of an error that a
 * handler returns without a status.
 */
export class RefusedError extends Error {
  override name = 'RefusedError';
  readonly code: GrpcCode;

  constructor(code: GrpcCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The id of an error, without making the error. */
export function etcdErrorId(kind: EtcdErrorName): number {
  return IDS.get(kind) as number;
}

/** The error with this id; throws a `RangeError` if there is none. */
export function etcdErrorById(id: number): EtcdError {
  const kind = NAMES[id - 1];
  if (kind === undefined) throw new RangeError(`no etcd error has id ${id}`);
  return new EtcdError(kind);
}
