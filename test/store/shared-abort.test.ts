import assert from 'node:assert/strict';
import { it } from 'node:test';
import { withDeadline } from '../../src/main/store/deadline.ts';
import { sharedAbort } from '../../src/shared/base/abort.ts';
import { systemClock } from '../../src/shared/base/clock.ts';

it('many requests may share one deadline without a warning on standard error', async () => {
  const warnings: string[] = [];
  const warned = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', warned);
  await withDeadline(systemClock, 60_000, undefined, (signal) =>
    Promise.all(Array.from({ length: 64 }, () => systemClock.sleep(10, signal))),
  );
  await systemClock.sleep(10);
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
});

it('many operations may wait for one signal without a warning on standard error', async () => {
  const warnings: string[] = [];
  const warned = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', warned);
  const controller = sharedAbort();
  const waiting = Array.from({ length: 64 }, () => systemClock.sleep(60_000, controller.signal));
  await systemClock.sleep(10);
  controller.abort();
  await Promise.all(waiting);
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
});
