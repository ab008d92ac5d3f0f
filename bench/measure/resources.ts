import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** What a process has used. `residentMiB` is undefined where the system doesn't tell. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentMiB: number | undefined;
}

/** Linux counts CPU in hundredths of a second for user space (USER_HZ, proc_pid_stat(5)). */
const ticksPerSecond = 100;

/** Undefined when the process is gone. Reads /proc where there is one, and asks ps elsewhere. */
export function usageOf(pid: number): Usage | undefined {
  try {
    return process.platform === 'linux' ? fromProc(pid) : fromPs(pid);
  } catch {
    return undefined;
  }
}

/** CPU seconds of each thread of a process by its id, the main thread's id being the process's; empty off Linux. */
export function threadsOf(pid: number): ReadonlyMap<number, number> {
  const threads = new Map<number, number>();
  try {
    for (const name of readdirSync(`/proc/${pid}/task`)) {
      threads.set(Number(name), cpuOf(readFileSync(`/proc/${pid}/task/${name}/stat`, 'latin1')));
    }
  } catch {
    // Gone, or no Linux: what was read so far is as good as nothing.
  }
  return threads;
}

function cpuOf(stat: string): number {
  // The name in parentheses may hold spaces; fields 14 and 15 are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function fromProc(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const resident = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return {
    cpuSeconds: cpuOf(stat),
    residentMiB: resident ? Number(resident[1]) / 1024 : undefined,
  };
}

function fromPs(pid: number): Usage {
  const output = execFileSync('ps', ['-o', 'time=,rss=', '-p', String(pid)], { encoding: 'utf8' });
  const [time = '0', resident] = output.trim().split(/\s+/);
  const cpuSeconds = time.split(':').reduce((seconds, part) => seconds * 60 + Number(part), 0);
  return { cpuSeconds, residentMiB: resident === undefined ? undefined : Number(resident) / 1024 };
}
