import { after, test } from 'node:test';
import fc from 'fast-check';
import { missingTools } from '../support/tools.ts';
import { type Operation, operation } from './operations.ts';
import { Peers } from './peers.ts';

const SEQUENCE_LENGTH_MAX = 60;
/** Sequences per seed. NETSY_DIFFERENTIAL_SEQUENCES raises it, NETSY_DIFFERENTIAL_SEED names one seed to run. */
const SEQUENCES = Number(process.env['NETSY_DIFFERENTIAL_SEQUENCES'] ?? 8);
const CHOSEN_SEED = process.env['NETSY_DIFFERENTIAL_SEED'];
const FRESH_SEED = Math.floor(Math.random() * 2 ** 31);
const SEEDS = CHOSEN_SEED === undefined ? [1, 2, FRESH_SEED] : [Number(CHOSEN_SEED)];
/** A failure shrinks, on fresh servers for each try, until this much time is over; with 0 it does not. */
const SHRINK_MS_MAX = Number(process.env['NETSY_DIFFERENTIAL_SHRINK_MS'] ?? 60_000);

let peers: Peers | undefined;

after(async () => peers?.stop());

/** The pair of servers; a new pair once they have come apart. */
async function agreeingPeers(): Promise<Peers> {
  if (peers?.agree) return peers;
  await peers?.stop();
  peers = await Peers.start();
  return peers;
}

/** Empties both servers. History and compaction stay, and are the same on both. */
async function clear(pair: Peers): Promise<void> {
  await pair.check({ rpc: 'DeleteRange', request: { key: '\x00', rangeEnd: '\x00' } });
  for (const ID of [1n, 2n, 3n, 4n]) await pair.check({ rpc: 'LeaseRevoke', request: { ID } });
}

async function runSequence(operations: readonly Operation[]): Promise<void> {
  const pair = await agreeingPeers();
  await clear(pair);
  const start = pair.newestRevision;
  for (const one of operations) await pair.check(one);
  await pair.checkHistory(start);
  for (const ID of [1n, 2n, 3n, 4n]) {
    await pair.check({ rpc: 'LeaseTimeToLive', request: { ID, keys: true } });
  }
}

for (const seed of SEEDS) {
  test(`random operations are answered as etcd answers them (seed ${seed})`, {
    skip: missingTools('go'),
  }, async (context) => {
    let sent = 0;
    const property = fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: SEQUENCE_LENGTH_MAX, size: 'max' }),
      async (operations) => {
        sent += operations.length;
        await runSequence(operations);
      },
    );
    context.diagnostic(`NETSY_DIFFERENTIAL_SEED=${seed}`);
    await fc.assert(property, {
      seed,
      numRuns: SEQUENCES,
      ...(SHRINK_MS_MAX === 0 ? { endOnFailure: true } : { interruptAfterTimeLimit: SHRINK_MS_MAX }),
      includeErrorInReport: true,
    });
    context.diagnostic(`${sent} operations`);
  });
}
