import {
  create,
  type DescFile,
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import { file_etcdserverpb_rpc } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { file_grpc_health_v1_health } from '../../shared/etcd/gen/grpc/health/v1/health_pb.ts';
import {
  file_grpc_reflection_v1_reflection,
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../../shared/etcd/gen/grpc/reflection/v1/reflection_pb.ts';
import { file_v3electionpb_v3election } from '../../shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { file_v3lockpb_v3lock } from '../../shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { MalformedMessageError, Reader } from '../../shared/etcd/wire.ts';
import { type DuplexCall, failStream, type ServiceHandlers, sendMessage } from './service.ts';

/**
 * gRPC's server reflection, so that tools like grpcurl need no .proto files. etcd has none. Ours rather than
 * @grpc/reflection's: that one answers a client that asks and does not read without bound, and takes truncated
 * requests for whole ones.
 */

type Response = MessageInitShape<typeof ServerReflectionResponseSchema>;
type Answer = NonNullable<Exclude<Response, ServerReflectionResponse>['messageResponse']>;

/** The files of every service that is served. */
const SERVED = [
  file_etcdserverpb_rpc,
  file_v3lockpb_v3lock,
  file_v3electionpb_v3election,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
];

/** The service under its present name, and under the one that older tools ask for. */
export const REFLECTION_SERVICES: readonly DescService[] = [
  ServerReflection,
  { ...ServerReflection, typeName: 'grpc.reflection.v1alpha.ServerReflection' },
];

export function reflectionHandlers(): ServiceHandlers {
  const index = new DescriptorIndex(SERVED);
  return { duplex: { ServerReflectionInfo: (call) => serve(index, call) } };
}

/** Answers in turn: the next request is read when the client has taken the answer to the one before. */
function serve(index: DescriptorIndex, call: DuplexCall): void {
  let turn = Promise.resolve();
  const answer = async (message: Buffer): Promise<void> => {
    const originalRequest = decodeRequest(message);
    const messageResponse = index.answer(originalRequest.messageRequest);
    const response: Response = { validHost: originalRequest.host, originalRequest, messageResponse };
    await sendMessage(
      call,
      toBinary(ServerReflectionResponseSchema, create(ServerReflectionResponseSchema, response)),
    );
  };
  call.on('data', (message: Buffer) => {
    call.pause();
    turn = answer(message).then(
      () => void call.resume(),
      (error: unknown) => failStream(call, error),
    );
  });
  call.on('end', () => void turn.then(() => call.end()));
  call.on('error', () => call.end());
}

const EXTENSION_TAG = 5 * 8 + 2;

/** Generated code would take a truncated request for a whole one: it is walked through first. */
function decodeRequest(bytes: Buffer): ServerReflectionRequest {
  const reader = new Reader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== EXTENSION_TAG) {
      reader.skip(tag);
      continue;
    }
    const outer = reader.enter();
    while (reader.more()) reader.skip(reader.tag());
    reader.leave(outer);
  }
  try {
    return fromBinary(ServerReflectionRequestSchema, bytes);
  } catch (error) {
    throw new MalformedMessageError((error as Error).message);
  }
}

/** What there is to be known of the files, by every name. */
class DescriptorIndex {
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #messages = new Set<string>();
  readonly #services: string[];

  constructor(served: readonly DescFile[]) {
    this.#services = served.flatMap(({ services }) => services.map(({ typeName }) => typeName)).sort();
    for (const file of withImports(served)) this.#addFile(file);
  }

  answer(request: ServerReflectionRequest['messageRequest']): Answer {
    switch (request.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: this.#services.map((name) => ({ name })) } };
      case 'fileByFilename':
        return describe(this.#files.get(request.value), request.value);
      case 'fileContainingSymbol':
        return describe(this.#symbols.get(request.value), request.value);
      case 'fileContainingExtension':
        // None of the files has extensions.
        return describe(undefined, `${request.value.containingType}#${request.value.extensionNumber}`);
      case 'allExtensionNumbersOfType':
        if (!this.#messages.has(request.value)) return describe(undefined, request.value);
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName: request.value } };
      default:
        throw new RefusedError(GrpcCode.InvalidArgument, 'invalid MessageRequest: none');
    }
  }

  #addFile(file: DescFile): void {
    this.#files.set(file.proto.name, file);
    for (const message of file.messages) this.#addMessage(file, message);
    for (const { typeName, values } of file.enums) this.#add(file, typeName, values);
    for (const { typeName, methods } of file.services) this.#add(file, typeName, methods);
  }

  #addMessage(file: DescFile, message: DescMessage): void {
    this.#messages.add(message.typeName);
    this.#add(file, message.typeName, [...message.fields, ...message.oneofs]);
    for (const nested of message.nestedMessages) this.#addMessage(file, nested);
    for (const { typeName, values } of message.nestedEnums) this.#add(file, typeName, values);
  }

  #add(file: DescFile, typeName: string, parts: readonly { readonly name: string }[]): void {
    this.#symbols.set(typeName, file);
    for (const { name } of parts) this.#symbols.set(`${typeName}.${name}`, file);
  }
}

/** The file and all that it imports, or that `asked` is not known. */
function describe(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) {
    const errorMessage = `not found: ${asked}`;
    return { case: 'errorResponse', value: { errorCode: GrpcCode.NotFound, errorMessage } };
  }
  const fileDescriptorProto = [...withImports([file])].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function withImports(files: readonly DescFile[], found = new Set<DescFile>()): Set<DescFile> {
  for (const file of files) {
    if (found.has(file)) continue;
    found.add(file);
    withImports(file.dependencies, found);
  }
  return found;
}
