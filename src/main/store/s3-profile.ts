import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../../shared/base/errors.ts';
import { StoreError } from './errors.ts';
import { isAbsent } from './file-errors.ts';
import type { Environment } from './s3-credentials.ts';

/** The profile that AWS_PROFILE names, or 'default'. */
export function profileName(environment: Environment): string {
  return environment['AWS_PROFILE'] || 'default';
}

/**
 * The settings of that profile, lower-case, from the shared config file and over them the shared credentials file;
 * 's3 endpoint_url' is the one of S3 alone, in the `services` section that the profile names. Files that don't exist
 * have none. Rejects with a 'denied' `StoreError` when one can't be read.
 * https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
 */
export async function readProfile(environment: Environment): Promise<ReadonlyMap<string, string>> {
  const name = profileName(environment);
  const { config, credentials } = sharedFiles(environment);
  const inConfig = sectionOf(
    await readIfThere(config),
    name === 'default' ? ['default', 'profile default'] : [`profile ${name}`],
  );
  const settings = new Map([...inConfig, ...sectionOf(await readIfThere(credentials), [name])]);
  const services = settings.get('services');
  if (services !== undefined) {
    for (const [key, value] of sectionOf(await readIfThere(config), [`services ${services}`]))
      if (key === 's3 endpoint_url') settings.set(key, value);
  }
  return settings;
}

/** As `readProfile`, where nothing may be in the files that is needed: what can't be read says nothing. */
export function readableProfile(environment: Environment): Promise<ReadonlyMap<string, string>> {
  return readProfile(environment).catch(() => new Map());
}

/** Where AWS's shared files are, or would be. */
export function sharedFiles(environment: Environment): { config: string; credentials: string } {
  const folder = join(environment['HOME'] ?? homedir(), '.aws');
  return {
    config: environment['AWS_CONFIG_FILE'] || join(folder, 'config'),
    credentials: environment['AWS_SHARED_CREDENTIALS_FILE'] || join(folder, 'credentials'),
  };
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return '';
    throw new StoreError('denied', `cannot read the shared AWS file ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** `name = value` lines of the named sections; an indented line belongs to the line above it: 's3 endpoint_url'. */
function sectionOf(text: string, names: readonly string[]): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  let inside = false;
  let parent = '';
  for (const line of text.split(/\r?\n/)) {
    const header = /^\[\s*(.*?)\s*\]/.exec(line)?.[1];
    if (header !== undefined) {
      inside = names.includes(header.replace(/\s+/g, ' '));
      continue;
    }
    const [, indent, name, value] = /^(\s*)([^\s#;=][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (!inside || indent === undefined || name === undefined || value === undefined) continue;
    if (indent === '') parent = name.toLowerCase();
    const key = indent === '' ? parent : `${parent} ${name.toLowerCase()}`;
    settings.set(key, value.replace(/\s[#;].*$/, ''));
  }
  return settings;
}
