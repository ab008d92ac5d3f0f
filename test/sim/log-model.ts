import assert from 'node:assert/strict';
import { compareBytes } from '../../src/shared/base/bytes.ts';
import { checkChain } from '../../src/shared/format/chain.ts';
import { decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import { FileCompression } from '../../src/shared/format/file.ts';
import { chunkKey } from '../../src/shared/format/names.ts';
import { type LogRecord, Operation } from '../../src/shared/model/record.ts';
import { openChunk } from '../../src/workers/task/open.ts';

/**
 * What the log says, worked out from the chunks that the store came to hold by rules of its own (shared with the product
 * are only the codecs): which chunks are the log, when each became durable, and what every revision's state is.
 */

/** The first object that the store held under a chunk's name. */
export interface CreatedChunk {
  readonly body: Uint8Array;
  /** The simulation's step and time at which the store had it. */
  readonly step: number;
  readonly atMs: number;
}

/** One revision's changes. */
export interface ModelRevision {
  readonly revision: number;
  readonly sequence: number;
  readonly changes: readonly LogRecord[];
}

export interface ModelKey {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: bigint;
}

/** A chunk's own CRC, which the next one repeats; undefined of one that is compressed. */
export function chunkCrc(body: Uint8Array): bigint | undefined {
  const { header, bodyOffset } = decodeHeader(body, 'chunk');
  if (header.compression === FileCompression.Zstd) return undefined;
  return decodeBody(body.subarray(bodyOffset), header, 'chunk').footer.crc;
}

interface LogChunk {
  readonly sequence: number;
  readonly durableStep: number;
  readonly durableMs: number;
  readonly records: readonly LogRecord[];
  /** The store's revision after it. */
  readonly revision: number;
}

export class LogModel {
  readonly chunks: LogChunk[] = [];
  readonly revisions: ModelRevision[] = [];
  /** Every state of each key, the oldest first; a tombstone has an empty version. */
  readonly #states = new Map<string, ModelKey[]>();
  readonly #durableBySequence = new Map<number, LogChunk>();
  /** By value: the revisions that put it. Clients write no value twice. */
  readonly #byValue = new Map<string, number[]>();
  revision = 1;

  static async of(created: ReadonlyMap<number, CreatedChunk>): Promise<LogModel> {
    const model = new LogModel();
    let previous = { sequence: 0, crc: 0n };
    let durableStep = 0;
    let durableMs = 0;
    for (let next = 1; ; ) {
      const chunk = created.get(next);
      if (chunk === undefined) return model;
      const opened = await openChunk(chunkKey(next), next, chunk.body);
      const { header } = decodeHeader(opened.header, chunkKey(next));
      checkChain(previous, header);
      previous = { sequence: next, crc: opened.crc };
      durableStep = Math.max(durableStep, chunk.step);
      durableMs = Math.max(durableMs, chunk.atMs);
      const { records } = decodeBody(opened.body, header, chunkKey(next));
      model.#take({ sequence: next, durableStep, durableMs, records });
      next = opened.skipTo ?? next + 1;
    }
  }

  #take(chunk: Omit<LogChunk, 'revision'>): void {
    for (const record of chunk.records) {
      if (record.operation === Operation.KeyValue) this.#change(record, chunk.sequence);
    }
    const whole = { ...chunk, revision: this.revision };
    this.chunks.push(whole);
    this.#durableBySequence.set(chunk.sequence, whole);
  }

  #change(record: LogRecord, sequence: number): void {
    const key = Buffer.from(record.key).toString();
    const states = this.#states.get(key) ?? [];
    this.#states.set(key, states);
    const before = states[states.length - 1];
    const lives = before !== undefined && before.version > 0;
    const { revision } = record;
    if (revision !== this.revision) {
      assert.equal(revision, this.revision + 1, `chunk ${sequence} goes on with revision ${revision}`);
      this.revision = revision;
      this.revisions.push({ revision, sequence, changes: [] });
    }
    (this.revisions[this.revisions.length - 1]!.changes as LogRecord[]).push(record);
    const where = `${key} at revision ${revision}`;
    if (record.deleted) assert.ok(lives, `${where} is deleted and was not there`);
    else {
      const createRevision = lives ? before.createRevision : revision;
      const version = lives ? before.version + 1 : 1;
      assert.equal(record.createRevision, createRevision, `${where}: create revision`);
      assert.equal(record.version, version, `${where}: version`);
    }
    const value = Buffer.from(record.value).toString();
    const same = this.#byValue.get(value) ?? [];
    if (!record.deleted && !same.includes(revision)) this.#byValue.set(value, [...same, revision]);
    states.push({
      key,
      value,
      createRevision: record.createRevision,
      modRevision: revision,
      version: record.version,
      lease: record.lease,
    });
  }

  /** The newest revision that was durable before a step. */
  durableAt(step: number): number {
    let revision = 1;
    for (const chunk of this.chunks) {
      if (chunk.durableStep > step) break;
      revision = chunk.revision;
    }
    return revision;
  }

  /** The last sequence that was durable at a moment of the world's time. */
  sequenceAt(atMs: number): number {
    let sequence = 0;
    for (const chunk of this.chunks) {
      if (chunk.durableMs > atMs) break;
      sequence = chunk.sequence;
    }
    return sequence;
  }

  chunk(sequence: number): LogChunk | undefined {
    return this.#durableBySequence.get(sequence);
  }

  /** All that there ever were. */
  get keys(): string[] {
    return [...this.#states.keys()];
  }

  /** The revisions that put a value. */
  revisionsOf(value: string): readonly number[] {
    return this.#byValue.get(value) ?? [];
  }

  /** A revision's changes; undefined when the log has no such revision. */
  at(revision: number): ModelRevision | undefined {
    return this.revisions[revision - 2];
  }

  /** The living keys of a range at a revision, in key order. */
  range(from: string, to: string | undefined, revision: number): ModelKey[] {
    const isIn = (key: string): boolean => (to === undefined ? key === from : key >= from && key < to);
    return [...this.#states]
      .filter(([key]) => isIn(key))
      .map(([, states]) => states.findLast(({ modRevision }) => modRevision <= revision))
      .filter((state): state is ModelKey => state !== undefined && state.version > 0)
      .sort((a, b) => compareBytes(Buffer.from(a.key), Buffer.from(b.key)));
  }

  get(key: string, revision: number): ModelKey | undefined {
    return this.range(key, undefined, revision)[0];
  }

  /** The log operations of a kind, each with its chunk. */
  operations(operation: Operation): { record: LogRecord; chunk: LogChunk }[] {
    return this.chunks.flatMap((chunk) =>
      chunk.records.filter((record) => record.operation === operation).map((record) => ({ record, chunk })),
    );
  }
}
