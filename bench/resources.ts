import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

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

function fromProc(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name in parentheses may hold spaces; fields 14 and 15 are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const resident = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    residentMiB: resident ? Number(resident[1]) / 1024 : undefined,
  };
}

function fromPs(pid: number): Usage {
  const output = execFileSync('ps', ['-o', 'time=,rss=', '-p', String(pid)], { encoding: 'utf8' });
  const [time = '0', resident] = output.trim().split(/\s+/);
  const cpuSeconds = time.split(':').reduce((seconds, part) => seconds * 60 + Number(part), 0);
  return { cpuSeconds, residentMiB: resident === undefined ? undefined : Number(resident) / 1024 };
}
