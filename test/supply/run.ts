import { writeFileSync } from 'node:fs';
import { makeSbom, type Sbom } from './sbom.ts';

/** `npm run sbom [-- FILE]`: writes the bill of materials of what an installation brings. */

const [, , file = 'netsy.cdx.json'] = process.argv;
if (file.startsWith('-')) {
  process.stdout.write(
    'npm run sbom [-- FILE]: writes the bill of materials, by default to netsy.cdx.json\n',
  );
  process.exit(file === '--help' ? 0 : 2);
}
const text = makeSbom();
const { components } = JSON.parse(text) as Sbom;
writeFileSync(file, text);
process.stdout.write(`${file}: ${components.length} packages\n`);
