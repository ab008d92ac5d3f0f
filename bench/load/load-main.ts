import { systemClock } from '../../src/shared/base/clock.ts';
import { Connection } from '../grpc/connection.ts';
import { fill } from './fill.ts';
import { Generator } from './generator.ts';
import { KeySpace } from './key-space.ts';
import type { LoadCommand, LoadEvent, PhaseReport } from './protocol.ts';
import { verifyKeySpace } from './verify.ts';
import { Watchers } from './watchers.ts';
import { createWorkload } from './workload.ts';

/** A load process: does what its parent says over IPC, and ends with the channel. */

let connections: Connection[] = [];
let space = new KeySpace({ prefix: '', seed: 0, valueBytes: 1024, groups: 1, unchecked: false });
let watchers: Watchers | undefined;

function tell(event: LoadEvent): void {
  process.send?.(event);
}

async function open(command: LoadCommand & { do: 'open' }): Promise<void> {
  const { host, port } = command;
  space = new KeySpace(command.shape);
  connections = await Promise.all(
    Array.from({ length: command.connections }, () => Connection.open(host, port)),
  );
}

async function watch(count: number): Promise<void> {
  const { groups } = space.shape;
  watchers = await Watchers.create(systemClock, connections, space, groups, count);
}

async function tellWindow({ warmupMs, measureMs }: LoadCommand & { do: 'phase' }): Promise<void> {
  const startMs = systemClock.monotonicMs();
  await systemClock.sleep(warmupMs);
  watchers?.record(true);
  tell({ is: 'window-start' });
  await systemClock.sleep(startMs + warmupMs + measureMs - systemClock.monotonicMs());
  watchers?.record(false);
  tell({ is: 'window-end' });
}

async function phase(command: LoadCommand & { do: 'phase' }): Promise<PhaseReport> {
  const workload = createWorkload(command.operation, space, command.foreign);
  const generator = new Generator(systemClock, connections, workload, command);
  const windowOver = tellWindow(command);
  const outcome = await generator.run();
  // The last answer may come before the window's end, which the parent must hear of before the figures.
  await windowOver;
  const report = {
    completedInWindow: outcome.completedInWindow,
    windowMs: outcome.windowMs,
    errors: Object.fromEntries(outcome.errors),
    latencies: outcome.latencies.encode(),
    lateness: outcome.lateness.encode(),
  };
  if (!watchers) return report;
  await watchers.drained(command.drainMs);
  return { ...report, watch: watchers.report() };
}

async function obey(command: LoadCommand): Promise<LoadEvent> {
  switch (command.do) {
    case 'open':
      await open(command);
      return { is: 'done' };
    case 'fill':
      await fill(connections, space, command.keys, command.inFlight);
      return { is: 'done' };
    case 'watch':
      await watch(command.watchers);
      return { is: 'done' };
    case 'phase':
      return { is: 'done', phase: await phase(command) };
    case 'verify':
      return { is: 'done', verification: await verifyKeySpace(connections[0]!, space) };
  }
}

process.on('message', (command: LoadCommand) => {
  obey(command).then(tell, (error: unknown) => tell({ is: 'failed', reason: String(error) }));
});
process.on('disconnect', () => process.exit());
