import {
  chunkKey,
  parseChunkKey,
  parsePackKey,
  parsePinKey,
  parseSnapshotKey,
  snapshotKey,
} from '../../src/shared/format/names.ts';
import { Operation as LogOperation } from '../../src/shared/model/record.ts';
import type { KeyAnswer, Operation, Told, Watched } from './history.ts';
import type { LogModel, ModelKey } from './log-model.ts';
import type { World } from './world.ts';

/**
 * What must hold of every run. The log is the witness: it says in which order everything happened, and so each answer
 * has one place in it, its revision. The history is linearizable if every answer is what the log says at its place
 * (`checkAnswers`), and the places agree with the order in which operations that did not overlap were made
 * (`checkOrder`).
 */

/** Clocks differ by less: see `plan.ts`. */
const CLOCK_MARGIN = 1.1;
const YOUNG_MS = 3_600_000;

export function checkAll(world: World, model: LogModel): void {
  for (const operation of world.history.operations) checkAnswer(world, model, operation);
  checkOrder(world, model);
  checkWatches(world, model);
  checkLeases(world, model);
  checkDeletions(world, model);
}

function nameOf({ asked, process, id }: Operation): string {
  const text = JSON.stringify(asked, (_, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );
  return `operation ${id} of ${process}, ${text.slice(0, 150)}`;
}

function checkAnswer(world: World, model: LogModel, operation: Operation): void {
  const fail = (text: string): void => world.violation(`${nameOf(operation)}: ${text}`);
  const { asked, outcome, told, answeredStep } = operation;
  if (outcome === 'refused') {
    if (hasHappened(model, operation)) fail(`was refused (${operation.error}) and is in the log`);
    return;
  }
  if (outcome !== 'done' || told === undefined) return;
  const { revision } = told;
  const durable = model.durableAt(answeredStep);
  if (revision > durable) fail(`answered with revision ${revision} when ${durable} was durable`);
  switch (asked.kind) {
    case 'put':
      return expectPuts(model, told, [asked.key], asked.value, fail);
    case 'delete':
      return expectDelete(model, told, asked.key, fail);
    case 'swap': {
      const { key, other, expected, value } = asked;
      if (told.count === 1) {
        const before = model.get(key, revision - 1)?.modRevision ?? 0;
        if (before !== expected)
          fail(`succeeded at ${revision}, where ${key} was of ${before}, not ${expected}`);
        return expectPuts(model, told, key === other ? [key] : [key, other], value, fail);
      }
      const found = model.get(key, revision);
      if ((found?.modRevision ?? 0) === expected)
        fail(`failed at ${revision}, where ${key} is of ${expected}`);
      return expectKeys(told.keys, found === undefined ? [] : [found], revision, fail);
    }
    case 'range': {
      const at = asked.revision === 0 ? revision : asked.revision;
      return expectKeys(told.keys, model.range(asked.from, asked.to, at), at, fail);
    }
    case 'grant':
    case 'revoke': {
      const kind = asked.kind === 'grant' ? LogOperation.LeaseGrant : LogOperation.LeaseRevoke;
      const found = model.operations(kind).find(({ record }) => record.lease === asked.lease);
      if (found === undefined) fail('was acknowledged and is not in the log');
      else if (found.chunk.durableStep > answeredStep) fail('was acknowledged before it was durable');
      return;
    }
    case 'keep alive': {
      const revoked = model
        .operations(LogOperation.LeaseRevoke)
        .find(({ record }) => record.lease === asked.lease);
      if (told.count > 0 && revoked !== undefined && revoked.chunk.durableStep < operation.takenStep) {
        if (!world.frozen.has(operation.process)) fail('kept a lease alive that was revoked');
      }
      return;
    }
    case 'compact': {
      const found = model
        .operations(LogOperation.Compaction)
        .some(({ record }) => record.compactRevision === asked.revision);
      if (!found) fail('was acknowledged and is not in the log');
      return;
    }
  }
}

/** Whether a write that can be told from all others is in the log. */
function hasHappened(model: LogModel, { asked }: Operation): boolean {
  if (asked.kind !== 'put' && asked.kind !== 'swap') return false;
  return model.revisionsOf(asked.value).length > 0;
}

function expectPuts(
  model: LogModel,
  { revision }: Told,
  keys: readonly string[],
  value: string,
  fail: (text: string) => void,
): void {
  const changes = model.at(revision)?.changes ?? [];
  const found = changes.map((change) => `${Buffer.from(change.key)}=${Buffer.from(change.value)}`);
  const expected = keys.map((key) => `${key}=${value}`);
  if (found.join() !== expected.join()) {
    fail(
      `was acknowledged at revision ${revision}, where the log has ${found.join().slice(0, 200) || 'nothing'}`,
    );
  }
  const times = model.revisionsOf(value).length;
  if (times > 1) fail(`is in the log ${times} times`);
}

function expectDelete(model: LogModel, told: Told, key: string, fail: (text: string) => void): void {
  const { revision, count } = told;
  const changes = model.at(revision)?.changes ?? [];
  if (count === 0) {
    if (model.get(key, revision) !== undefined)
      fail(`found nothing at revision ${revision}, where the key is`);
  } else if (
    changes.length !== 1 ||
    !changes[0]!.deleted ||
    Buffer.from(changes[0]!.key).toString() !== key
  ) {
    fail(`was acknowledged at revision ${revision}, where the log has no such delete`);
  }
}

function expectKeys(
  found: readonly KeyAnswer[],
  expected: readonly ModelKey[],
  revision: number,
  fail: (text: string) => void,
): void {
  const text = (keys: readonly KeyAnswer[]): string =>
    keys
      .map(
        ({ key, value, createRevision, modRevision, version, lease }) =>
          `${key}=${value} ${createRevision} ${modRevision} ${version} ${lease}`,
      )
      .join(', ');
  const [is, should] = [text(found), text(expected)];
  if (is !== should)
    fail(`at revision ${revision} read [${is.slice(0, 300)}], the log has [${should.slice(0, 300)}]`);
}

/** What was answered before something else was begun comes before it. */
function checkOrder(world: World, model: LogModel): void {
  const done = world.history.operations.filter(
    ({ outcome, told }) => outcome === 'done' && told !== undefined && told.revision > 0,
  );
  const answered = done
    .filter((operation) => isOrdered(operation) && !maySayThePast(world, operation))
    .sort((a, b) => a.answeredStep - b.answeredStep);
  const taken = world.history.operations
    .map((operation) => ({ operation, revision: placeOf(model, operation) }))
    .filter(({ operation, revision }) => revision !== undefined && operation.takenStep >= 0)
    .filter(({ operation }) => !maySayThePast(world, operation))
    .sort((a, b) => a.operation.takenStep - b.operation.takenStep);
  let newest: { revision: number; operation: Operation | undefined } = { revision: 1, operation: undefined };
  let next = 0;
  for (const { operation, revision } of taken) {
    while (next < answered.length && answered[next]!.answeredStep < operation.takenStep) {
      const before = answered[next++]!;
      if (before.told!.revision > newest.revision) {
        newest = { revision: before.told!.revision, operation: before };
      }
    }
    const writes = model.at(revision!) !== undefined && isWrite(operation);
    const least = writes ? newest.revision + 1 : newest.revision;
    if (revision! >= least || newest.operation === undefined) continue;
    world.violation(
      `${nameOf(operation)}: is of revision ${revision}, but ${nameOf(newest.operation)} was answered with ` +
        `${newest.revision} before it was begun`,
    );
  }
}

/** Who slept without knowing may read what was; what it writes is decided by the store. */
export function maySayThePast({ frozen }: World, operation: Operation): boolean {
  return frozen.has(operation.process) && !isWrite(operation);
}

/** Serializable reads, and reads of old revisions, may be old. */
function isOrdered({ asked }: Operation): boolean {
  return asked.kind !== 'range' || !asked.serializable;
}

function isWrite({ asked, told, outcome }: Operation): boolean {
  if (outcome === 'unknown') return true;
  if (asked.kind === 'put') return true;
  return (asked.kind === 'delete' || asked.kind === 'swap') && told?.count === 1;
}

/** The revision at which an operation happened; undefined when it did not, or when that can't be known. */
function placeOf(model: LogModel, operation: Operation): number | undefined {
  const { outcome, told, asked } = operation;
  if (outcome === 'done') return isOrdered(operation) && told!.revision > 0 ? told!.revision : undefined;
  if (outcome === 'unknown' && (asked.kind === 'put' || asked.kind === 'swap')) {
    return model.revisionsOf(asked.value)[0];
  }
  return undefined;
}

function checkWatches(world: World, model: LogModel): void {
  for (const { revision, step, who } of world.seen) {
    const durable = model.durableAt(step);
    if (revision > durable)
      world.violation(`${who} was told of revision ${revision} when ${durable} was durable`);
  }
  for (const watched of world.history.watches) checkWatch(world, model, watched);
}

function checkWatch(
  world: World,
  model: LogModel,
  { name, from, to, stretches, nextRevision }: Watched,
): void {
  const compactions = new Set(
    model.operations(LogOperation.Compaction).map(({ record }) => record.compactRevision),
  );
  for (const [index, { startRevision, events }] of stretches.entries()) {
    const isLast = index === stretches.length - 1;
    const end = isLast ? nextRevision - 1 : (events[events.length - 1]?.revision ?? 0);
    const found = events.map(({ revision, key, value, deleted }) =>
      deleted ? `${revision} -${key}` : `${revision} ${key}=${value}`,
    );
    const expected: string[] = [];
    let at = 0;
    for (const { revision, changes } of model.revisions) {
      if (revision < startRevision || revision > end) continue;
      for (const change of changes) {
        const key = Buffer.from(change.key).toString();
        if (key < from || key >= to) continue;
        const text = change.deleted
          ? `${revision} -${key}`
          : `${revision} ${key}=${Buffer.from(change.value)}`;
        // A tombstone is gone with the compaction of its own revision.
        if (change.deleted && found[at] !== text && compactions.has(revision)) continue;
        expected.push(text);
        at++;
      }
    }
    if (found.join() === expected.join()) continue;
    const first = expected.findIndex((text, place) => text !== found[place]);
    const place = first === -1 ? expected.length : first;
    world.violation(
      `${name} of [${from}, ${to}) from ${startRevision} to ${end} saw ${found[place] ?? 'nothing'} where the log ` +
        `has ${expected[place] ?? 'nothing'} (${found.length} events, not ${expected.length})`,
    );
  }
}

/** Nobody but a client ends a lease whose keep-alive was answered, before its TTL is over. */
function checkLeases(world: World, model: LogModel): void {
  const { operations } = world.history;
  const revokedByClients = new Set(
    operations.flatMap(({ asked }) => (asked.kind === 'revoke' ? [asked.lease] : [])),
  );
  const granted = new Map(
    model.operations(LogOperation.LeaseGrant).map(({ record, chunk }) => [record.lease, { record, chunk }]),
  );
  for (const { record, chunk } of model.operations(LogOperation.LeaseRevoke)) {
    if (revokedByClients.has(record.lease)) continue;
    const grant = granted.get(record.lease);
    const ttlMs = (grant?.record.leaseTtlSeconds ?? 0) * 1000;
    for (const operation of operations) {
      const { asked, told, takenMs, answeredMs, outcome } = operation;
      const isOurs = (asked.kind === 'keep alive' || asked.kind === 'grant') && asked.lease === record.lease;
      if (world.frozen.has(operation.process)) continue;
      if (!isOurs || outcome !== 'done' || told!.count === 0 || answeredMs > chunk.durableMs) continue;
      // The answer to a grant may come late, from one who slept; it promises nothing more.
      const from = asked.kind === 'grant' ? (grant?.chunk.durableMs ?? 0) : takenMs;
      if (chunk.durableMs >= from + ttlMs / CLOCK_MARGIN) continue;
      world.violation(
        `lease ${record.lease} of ${ttlMs} ms ended ${Math.round(chunk.durableMs - from)} ms after ${nameOf(operation)}`,
      );
    }
  }
}

/** Nothing was deleted that is young, or that a restart or a restore point needs. */
function checkDeletions(world: World, model: LogModel): void {
  const { retentionMs } = world.plan.settings;
  for (const { object, storeMs, atMs, left } of world.deletions) {
    const fail = (text: string): void => world.violation(`${object.key} was deleted ${text}`);
    const pin = parsePinKey(object.key);
    if (pin !== undefined) {
      // Retention's own note, under a name that nobody creates conditionally: it may be young, but goes last.
      if (!pin.isCondemned || left.has(snapshotKey(pin.sequence))) fail('before its snapshot');
      continue;
    }
    const ageMs = storeMs - object.modifiedMs;
    if (ageMs < YOUNG_MS) fail(`when it was ${Math.round(ageMs / 60_000)} minutes old`);
    const end = model.sequenceAt(atMs);
    const snapshots = [...left]
      .map(parseSnapshotKey)
      .filter((sequence): sequence is number => sequence !== undefined)
      .sort((a, b) => b - a);
    for (const snapshot of snapshots.slice(0, 2)) {
      const gone = missingAfter(model, left, snapshot, end);
      if (gone !== undefined) fail(`and ${snapshotKey(snapshot)} can't go on: ${chunkKey(gone)} is gone`);
    }
    if (snapshots.length < 2 && missingAfter(model, left, 0, end) !== undefined) {
      fail(`with ${snapshots.length} snapshots left`);
    }
    if (retentionMs === undefined && !isInPack(object.key, left)) fail('though everything is to be kept');
    const wanted = model.sequenceAt(atMs - (retentionMs ?? 0));
    const bases = [0, ...snapshots].filter((sequence) => sequence <= wanted);
    if (!bases.some((base) => missingAfter(model, left, base, end) === undefined)) {
      fail(`and the state of ${retentionMs} ms before, at sequence ${wanted}, can't be restored`);
    }
  }
}

/** The first chunk of the log after `sequence` that is not there. */
function missingAfter(
  model: LogModel,
  left: ReadonlySet<string>,
  sequence: number,
  end: number,
): number | undefined {
  const packs = packsOf(left);
  const isLeft = (at: number): boolean =>
    left.has(chunkKey(at)) || packs.some(({ first, last }) => first <= at && at <= last);
  return model.chunks.find(
    (chunk) => chunk.sequence > sequence && chunk.sequence <= end && !isLeft(chunk.sequence),
  )?.sequence;
}

function packsOf(left: ReadonlySet<string>): { first: number; last: number }[] {
  return [...left].map(parsePackKey).filter((pack) => pack !== undefined);
}

/** Whether a pack that is left holds what the deleted chunk or pack held. */
function isInPack(key: string, left: ReadonlySet<string>): boolean {
  const chunk = parseChunkKey(key);
  const gone = chunk === undefined ? parsePackKey(key) : { first: chunk, last: chunk };
  return (
    gone !== undefined && packsOf(left).some(({ first, last }) => first <= gone.first && gone.last <= last)
  );
}
