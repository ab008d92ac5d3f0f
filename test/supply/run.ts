import { writeFileSync } from 'node:fs';
import { makeSbom, type Sbom } from './sbom.ts';

/** `npm run sbom [-- FILE]`: writes the bill of materials of what an installation brings. */

const file = process.argv[2] ?? 'netsy.cdx.json';
const text = makeSbom();
const { components } = JSON.parse(text) as Sbom;
writeFileSync(file, text);
process.stdout.write(`${file}: ${components.length} packages\n`);
