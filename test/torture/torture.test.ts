import { describe, it } from 'node:test';
import { missingTools } from '../support/tools.ts';
import { reportLines, torture } from './torture.ts';

/** Ends after the round in which this has passed. */
const MILLISECONDS = 10_000;

/** A piece of `npm run torture`; docs/testing.md says how to run more of it and how to repeat a round. */
describe('processes that are killed, stopped and cut off from their store under load', {
  timeout: 400_000,
}, () => {
  for (const [store, rounds, skip] of [
    ['s3', 4, missingTools('go')],
    ['file', 1, false],
  ] as const) {
    it(`lose nothing acknowledged, have nothing that failed, and all answers have an order (${store})`, {
      skip,
    }, async (test) => {
      const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
      test.diagnostic(`SEED=${seed}`);
      const say = (line: string): void => test.diagnostic(line);
      for (const line of reportLines(await torture({ rounds, seed, store, milliseconds: MILLISECONDS, say })))
        say(line);
    });
  }
});
