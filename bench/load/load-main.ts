import { systemClock } from '../../src/shared/base/clock.ts';
import { Connection } from '../grpc/connection.ts';
import { Generator } from './generator.ts';
import { KeySpace } from './key-space.ts';
import type { LoadCommand, LoadEvent, PhaseReport } from './protocol.ts';
import { verifyKeySpace } from './verify.ts';
import { createWorkload } from './workload.ts';

/** A load process: does what its parent says over IPC, and ends with the channel. */

let connections: Connection[] = [];
let space = new KeySpace('', 0);

function tell(event: LoadEvent): void {
  process.send?.(event);
}

async function open(command: LoadCommand & { do: 'open' }): Promise<void> {
  const { host, port } = command;
  space = new KeySpace(command.prefix, command.seed);
  connections = await Promise.all(
    Array.from({ length: command.connections }, () => Connection.open(host, port)),
  );
}

async function phase(command: LoadCommand & { do: 'phase' }): Promise<PhaseReport> {
  const workload = createWorkload(command.operation, space);
  const generator = new Generator(systemClock, connections, workload, command);
  systemClock.after(command.warmupMs, () => tell({ is: 'window-start' }));
  systemClock.after(command.warmupMs + command.measureMs, () => tell({ is: 'window-end' }));
  const outcome = await generator.run();
  return {
    completedInWindow: outcome.completedInWindow,
    windowMs: outcome.windowMs,
    errors: Object.fromEntries(outcome.errors),
    latencies: outcome.latencies.encode(),
    lateness: outcome.lateness.encode(),
  };
}

async function obey(command: LoadCommand): Promise<LoadEvent> {
  switch (command.do) {
    case 'open':
      await open(command);
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
