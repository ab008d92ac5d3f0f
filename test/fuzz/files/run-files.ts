import { runCampaign } from './campaign.ts';
import { Inputs } from './inputs.ts';
import { reportLines } from './report.ts';

/** `npm run fuzz -- --target files`: damaged files for whatever reads files. Gives the exit code. */
export async function fuzzFiles(seed: number, inputs: number, say: (line: string) => void): Promise<number> {
  say(`seed ${seed}, ${inputs} inputs`);
  const report = await runCampaign({ seed, inputs, progress: say });
  for (const line of reportLines(report)) say(line);
  for (const failure of report.failures) say(`FAILED: ${failure}`);
  const tried = report.counts.inputs + report.failures.length;
  const isWhole = tried >= inputs && report.failures.length === 0;
  say(`${isWhole ? 'passed' : 'FAILED'}: seed ${seed}, ${report.failures.length} failures`);
  return isWhole ? 0 : 1;
}

/** One input again, in this thread. */
export async function fuzzOneFile(
  seed: number,
  number: number,
  say: (line: string) => void,
): Promise<number> {
  const inputs = await Inputs.of(seed);
  try {
    const { mutation, verdict, check } = await inputs.try(number);
    say(`input ${number}: ${mutation}: ${verdict}${check === undefined ? '' : ` by ${check}`}`);
    return 0;
  } catch (error) {
    say(`FAILED: input ${number}: ${(error as Error).stack}`);
    return 1;
  } finally {
    inputs.end();
  }
}
