import { errorMessage } from '../shared/base/errors.ts';
import { damageMessage, discardCache, isDamage } from './sqlite/database.ts';

/** What a worker says of the error that ends it. A damaged cache is thrown away at once, so that the next start rebuilds it. */
export function failureMessage(error: unknown, cacheFile: string): string {
  if (!isDamage(error)) return errorMessage(error);
  discardCache(cacheFile);
  return damageMessage(cacheFile, error);
}
