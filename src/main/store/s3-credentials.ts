import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage, StoreError } from './errors.ts';
import { isAbsent } from './file-errors.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Where credentials come from. Asked before every request, so it answers from memory when it can. */
export interface CredentialProvider {
  get(): Promise<Credentials>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** How long what the shared files said is believed: rotated keys are picked up after this. */
const FILES_BELIEVED_MS = 60_000;

/**
 * The environment's keys when it has any (and AWS_PROFILE names no profile without them), else the profile of
 * the shared credentials and config files. Rejects with a 'denied' `StoreError` when neither has any.
 */
export function defaultCredentials(environment: Environment, clock: Clock): CredentialProvider {
  const fromEnvironment = environmentCredentials(environment);
  if (fromEnvironment !== undefined) return { get: () => Promise.resolve(fromEnvironment) };
  return new SharedFileCredentials(environment, clock);
}

function environmentCredentials(environment: Environment): Credentials | undefined {
  return toCredentials(
    environment['AWS_ACCESS_KEY_ID'],
    environment['AWS_SECRET_ACCESS_KEY'],
    environment['AWS_SESSION_TOKEN'],
  );
}

function toCredentials(
  accessKeyId: string | undefined,
  secretAccessKey: string | undefined,
  sessionToken: string | undefined,
): Credentials | undefined {
  if (!accessKeyId || !secretAccessKey) return undefined;
  return sessionToken ? { accessKeyId, secretAccessKey, sessionToken } : { accessKeyId, secretAccessKey };
}

class SharedFileCredentials implements CredentialProvider {
  readonly #environment: Environment;
  readonly #clock: Clock;
  #cached: { readonly credentials: Credentials; readonly untilMs: number } | undefined;

  constructor(environment: Environment, clock: Clock) {
    this.#environment = environment;
    this.#clock = clock;
  }

  async get(): Promise<Credentials> {
    const now = this.#clock.monotonicMs();
    if (this.#cached !== undefined && now < this.#cached.untilMs) return this.#cached.credentials;
    const profile = await readProfile(this.#environment);
    const credentials = toCredentials(
      profile.get('aws_access_key_id'),
      profile.get('aws_secret_access_key'),
      profile.get('aws_session_token'),
    );
    if (credentials === undefined) throw noCredentials(profileName(this.#environment));
    this.#cached = { credentials, untilMs: now + FILES_BELIEVED_MS };
    return credentials;
  }
}

function noCredentials(profile: string): StoreError {
  return new StoreError(
    'denied',
    `no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or add keys to profile '${profile}' of the shared credentials file`,
  );
}

function profileName(environment: Environment): string {
  return environment['AWS_PROFILE'] || 'default';
}

/**
 * The settings of the profile that AWS_PROFILE names, lower-case, from the shared config file and over them the
 * shared credentials file. Files that don't exist have none.
 * https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
 */
export async function readProfile(environment: Environment): Promise<ReadonlyMap<string, string>> {
  const name = profileName(environment);
  const folder = join(environment['HOME'] ?? homedir(), '.aws');
  const config = await readIfThere(environment['AWS_CONFIG_FILE'] || join(folder, 'config'));
  const shared = await readIfThere(environment['AWS_SHARED_CREDENTIALS_FILE'] || join(folder, 'credentials'));
  const configSection = name === 'default' ? ['default', 'profile default'] : [`profile ${name}`];
  return new Map([...sectionOf(config, configSection), ...sectionOf(shared, [name])]);
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return '';
    throw new StoreError('denied', `cannot read the AWS settings in ${path}: ${errorMessage(error)}`);
  }
}

/** Indented lines are nested settings of another kind and are left out. */
function sectionOf(text: string, names: readonly string[]): Map<string, string> {
  const settings = new Map<string, string>();
  let inside = false;
  for (const line of text.split(/\r?\n/)) {
    const header = /^\[\s*(.*?)\s*\]/.exec(line)?.[1];
    if (header !== undefined) {
      inside = names.includes(header.replace(/\s+/g, ' '));
      continue;
    }
    const setting = /^([^\s#;=][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (inside && setting?.[1] !== undefined && setting[2] !== undefined) {
      settings.set(setting[1].toLowerCase(), setting[2].replace(/\s[#;].*$/, ''));
    }
  }
  return settings;
}
