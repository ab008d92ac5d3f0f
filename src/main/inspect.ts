import { readFile } from 'node:fs/promises';
import { decompress } from '@mongodb-js/zstd';
import { asBuffer } from '../shared/base/bytes.ts';
import { CorruptFileError, hex64 } from '../shared/format/corrupt.ts';
import { BodyDecoder, decodeHeader } from '../shared/format/decode.ts';
import { type DecodedHeader, FileCompression, type FileFooter, FileKind } from '../shared/format/file.ts';
import { decodeFrame, decodePackHeader, lastOfFrame } from '../shared/format/pack.ts';
import { checkZstdFrames, decompressionError, zstdFrameAt } from '../shared/format/zstd-frame.ts';
import { type LogRecord, Operation } from '../shared/model/record.ts';

/** `netsy inspect FILE…`: what `.netsy` files hold, as JSON lines. */

type Print = (line: string) => void;

/** A file is held whole, so it may not expand to more than Node's buffers reliably hold. */
const BODY_BYTES_MAX = 2 ** 31;

/** Printable text: what a terminal shows as it is. */
const PRINTABLE = /^[\x20-\x7e]*$/;

/**
 * Prints header, records and footer of each file through `out`, one JSON object per call. A damaged file
 * gives what could be read of it, then `{"error": …}` with the check that failed, and the next file follows.
 * Resolves to the exit code: 0 if all files were whole, else 1. Does not reject.
 */
export async function inspectFiles(paths: string[], out: Print): Promise<number> {
  let exitCode = 0;
  for (const path of paths) {
    try {
      await inspectFile(path, out);
    } catch (error) {
      exitCode = 1;
      out(JSON.stringify({ file: path, error: errorLine(error) }));
    }
  }
  return exitCode;
}

async function inspectFile(path: string, out: Print): Promise<void> {
  const object = await readFile(path);
  const { header, bodyOffset } = decodeHeader(object, path);
  out(JSON.stringify({ file: path, header: headerLine(header) }));
  if (header.pack !== undefined) return inspectPack(object, header, path, out);
  const isStored = header.compression === FileCompression.None;
  const body = isStored ? object.subarray(bodyOffset) : await decompressBody(object, header, path);
  inspectBody(body, header, path, out);
}

/** A pack's chunks, each as if it were a file. */
async function inspectPack(object: Buffer, header: DecodedHeader, path: string, out: Print): Promise<void> {
  const frames = header.pack ?? [];
  const [first, last] = [frames[0]?.first ?? 0, frames[frames.length - 1]];
  decodePackHeader(object, path, { first, last: last === undefined ? 0 : lastOfFrame(last) }, object.length);
  let offset = header.byteLength;
  let { previousChunkCrc } = header;
  for (const frame of frames) {
    const content = await decompressFrame(object.subarray(offset, offset + frame.bytes), path, offset);
    for (const chunk of decodeFrame(content, { name: path, offset, frame, previousChunkCrc })) {
      out(JSON.stringify({ chunk: headerLine(chunk.header) }));
      inspectBody(chunk.body, chunk.header, path, out);
    }
    offset += frame.bytes;
    previousChunkCrc = frame.lastCrc;
  }
}

async function decompressFrame(frame: Buffer, path: string, offset: number): Promise<Buffer> {
  const found = zstdFrameAt(frame, 0, path, offset);
  const place = { object: path, part: 'compression', index: undefined, offset } as const;
  if (found?.end !== frame.length || found.contentBytesMax > BODY_BYTES_MAX) {
    throw new CorruptFileError(place, 'zstd frame', 'a whole one', `${frame.length} bytes`);
  }
  try {
    return await decompress(frame);
  } catch (error) {
    throw new CorruptFileError(place, 'zstd frame', 'one that decompresses', (error as Error).message);
  }
}

function inspectBody(body: Uint8Array, header: DecodedHeader, path: string, out: Print): void {
  const decoder = new BodyDecoder(body, header, path);
  for (let record = decoder.next(); record !== undefined; record = decoder.next()) {
    out(JSON.stringify({ record: recordLine(record) }));
  }
  out(JSON.stringify({ footer: footerLine(decoder.footer()) }));
}

async function decompressBody(object: Buffer, header: DecodedHeader, path: string): Promise<Buffer> {
  checkZstdFrames(object, header, path, BODY_BYTES_MAX);
  try {
    return await decompress(object.subarray(header.byteLength));
  } catch (error) {
    throw decompressionError(header, path, (error as Error).message);
  }
}

function headerLine(header: DecodedHeader): object {
  const { byteLength: _, createdAtMs, kind, compression, snapshot, pack, ...rest } = header;
  return {
    ...rest,
    kind: nameOf(FileKind, kind),
    compression: nameOf(FileCompression, compression),
    createdAt: timeText(createdAtMs),
    previousChunkCrc: hex64(header.previousChunkCrc),
    nonce: hex64(header.nonce),
    crc: hex64(header.crc),
    ...(pack && { pack: pack.map((frame) => ({ ...frame, lastCrc: hex64(frame.lastCrc) })) }),
    ...(snapshot && { snapshot: { ...snapshot, clusterId: hex64(snapshot.clusterId) } }),
  };
}

/** Lease ids are decimal strings, as in etcd's JSON: they are larger than JSON's numbers. */
function recordLine(record: LogRecord): object {
  const { key, value, createdAtMs, epoch, ...rest } = record;
  const text = asBuffer(key).toString('latin1');
  return {
    ...rest,
    operation: nameOf(Operation, record.operation),
    key: asBuffer(key).toString('base64'),
    ...(PRINTABLE.test(text) ? { keyText: text } : {}),
    lease: String(record.lease),
    value: asBuffer(value).toString('base64'),
    createdAt: timeText(createdAtMs),
    ...(epoch === undefined ? {} : { epoch: { ...epoch, clusterId: hex64(epoch.clusterId) } }),
  };
}

function footerLine(footer: FileFooter): object {
  return {
    ...footer,
    recordsCrc: hex64(footer.recordsCrc),
    crc: hex64(footer.crc),
    headerCrc: hex64(footer.headerCrc),
  };
}

function errorLine(error: unknown): object {
  if (!(error instanceof CorruptFileError)) return { message: (error as Error).message };
  const { part, index, offset, check, expected, found, message } = error;
  return { part, index, offset, check, expected, found, message };
}

function nameOf(names: Record<string, number>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}

/** The decoder has checked that it is a Timestamp, and all those are times of JavaScript's too. */
function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
