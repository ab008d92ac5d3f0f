import type { Seeded } from '../support/seeded.ts';
import type { ApiServer } from './api-server.ts';
import type { Backing } from './backing.ts';
import type { KubeOptions } from './options.ts';
import type { Report } from './report.ts';

/** What a scenario works with. */
export interface ScenarioContext {
  readonly apiServer: ApiServer;
  readonly backing: Backing;
  readonly options: KubeOptions;
  readonly report: Report;
  readonly seeded: Seeded;
}

/** How long a watch, a list or an expiry may lag before it counts as missing. */
export const LAG_DEADLINE_MS = 60_000;

/** How many requests the scenarios keep in flight. */
export const IN_FLIGHT = 32;
