import { type GoToolName, requireTool } from './go-tools.ts';

/** `node dist/test/support/build-tools.js NAME …`: builds the tests' Go peers ahead of time. */
for (const name of process.argv.slice(2)) {
  process.stdout.write(`${name}: ${await requireTool(name as GoToolName)}\n`);
}
