import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { BEGINNING, type Operation, operation } from './operations.ts';
import { Pair } from './pair.ts';

const SEQUENCE_LENGTH_MAX = 60;
/** Sequences per seed. NETSY_AUTH_SEQUENCES raises it, NETSY_AUTH_SEED names one seed to run. */
const SEQUENCES = Number(process.env['NETSY_AUTH_SEQUENCES'] ?? 4);
const CHOSEN_SEED = process.env['NETSY_AUTH_SEED'];
const FRESH_SEED = Math.floor(Math.random() * 2 ** 31);
const SEEDS = CHOSEN_SEED === undefined ? [1, FRESH_SEED] : [Number(CHOSEN_SEED)];
const SHRINK_MS_MAX = Number(process.env['NETSY_AUTH_SHRINK_MS'] ?? 30_000);

/** Cheap hashes, and tokens of either kind: a simple one is as new as the auth store, a JWT as old as its login. */
function flagsFor(kind: string): string[] {
  if (kind === 'simple') return ['--bcrypt-cost=4'];
  const secretFile = join(temporaryDirectory(), 'secret');
  writeFileSync(secretFile, 'a secret of both servers, long enough for HMAC');
  return ['--bcrypt-cost=4', `--auth-token=jwt,sign-method=HS256,priv-key=${secretFile},ttl=10m`];
}

for (const kind of ['simple', 'jwt']) {
  describe(`auth with ${kind} tokens`, { skip: missingTools('go') }, () => {
    const flags = flagsFor(kind);
    let pair: Pair | undefined;

    after(async () => pair?.stop());

    const run = async (operations: readonly Operation[]): Promise<void> => {
      if (pair !== undefined && !pair.agree) await pair.stop();
      if (pair === undefined || !pair.agree) pair = await Pair.start(flags);
      await pair.clear();
      for (const one of [...BEGINNING, ...operations]) await pair.check(one);
    };

    for (const seed of SEEDS) {
      it(`who may do what, and how it is refused, is as in etcd (seed ${seed})`, async (context) => {
        context.diagnostic(`NETSY_AUTH_SEED=${seed}`);
        const operations = fc.array(operation, { minLength: 1, maxLength: SEQUENCE_LENGTH_MAX, size: 'max' });
        await fc.assert(fc.asyncProperty(operations, run), {
          seed,
          numRuns: SEQUENCES,
          ...(SHRINK_MS_MAX === 0 ? { endOnFailure: true } : { interruptAfterTimeLimit: SHRINK_MS_MAX }),
          includeErrorInReport: true,
        });
      });
    }
  });
}
