import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Backlog } from '../../src/main/watch/backlog.ts';
import { WatchResponseEncoder } from '../../src/main/watch/encoder.ts';
import type { WatchEvent } from '../../src/main/watch/events.ts';
import { renderPieces } from '../../src/main/watch/pieces.ts';
import { makeEvent } from './model-log.ts';
import { decodeWatchResponse } from './responses.ts';

const encoder = new WatchResponseEncoder({ clusterId: 1n, memberId: 2n, raftTerm: () => 3 });
const OPTIONS = { prevKv: false, noPut: false, noDelete: false };
const PIECE_BYTES = 1 << 20;

function event(revision: number): WatchEvent {
  return makeEvent(revision, 0, { key: `key ${revision}`, value: 'value' });
}

/** What is written to a stream: events of a watcher, or something else about it. */
type Step = { watchId: number; events: number } | { watchId: number; control: true };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ watchId: fc.nat(3), events: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ watchId: fc.nat(3), control: fc.constant(true as const) }) },
);

describe('responses that wait for the transport', () => {
  it('are joined by watcher: each has its events once and in order, and nothing passes a response without events', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const backlog = new Backlog();
        let revision = 0;
        /** By watcher: revisions, and a 0 for each response without events, whoever it is for. */
        const expected = new Map<number, number[]>([0, 1, 2, 3].map((id) => [id, []]));
        let runs = 0;
        let inRun = new Set<number>();
        for (const one of steps) {
          if ('control' in one) {
            backlog.add(encoder.control(revision, { watchId: one.watchId }), 0, undefined);
            for (const seen of expected.values()) seen.push(0);
            runs++;
            inRun = new Set();
            continue;
          }
          const events = Array.from({ length: one.events }, () => event(++revision));
          expected.get(one.watchId)!.push(...events.map((each) => each.revision));
          const [piece] = renderPieces(events, OPTIONS, PIECE_BYTES);
          const message = encoder.events(revision, one.watchId, piece!.section, false);
          const sectionBytes = piece!.section.length;
          backlog.add(message, one.events, { watchId: one.watchId, sectionBytes });
          if (!inRun.has(one.watchId)) runs++;
          inRun.add(one.watchId);
        }
        const pending = { bytes: backlog.bytes, events: backlog.events };
        const taken = backlog.take();
        assert.equal(taken.length, runs, 'one message for each watcher between two responses without events');
        const sum = (of: (message: (typeof taken)[number]) => number): number =>
          taken.reduce((total, message) => total + of(message), 0);
        assert.deepEqual(pending, {
          bytes: sum((one) => one.bytes.length),
          events: sum((one) => one.events),
        });
        const seen = new Map<number, number[]>([0, 1, 2, 3].map((id) => [id, []]));
        for (const message of taken) {
          const { watchId, events, revision: header } = decodeWatchResponse(message.bytes);
          if (events.length === 0) for (const revisions of seen.values()) revisions.push(0);
          const revisions = events.map((each) => each.revision);
          seen.get(watchId)!.push(...revisions);
          if (revisions.length > 0) assert.ok(header >= revisions.at(-1)!, 'the header covers its events');
        }
        assert.deepEqual(seen, expected);
        assert.deepEqual([backlog.bytes, backlog.events, backlog.take()], [0, 0, []]);
      }),
    );
  });
});
