/** The threads that this program starts. */
type Thread = 'file' | 'log-snapshot' | 'reader' | 'snapshot' | 'task' | 'writer';

/** Of the build, whether this module runs by itself or in a thread's one file. */
const BUILD = /^.*\/dist\//.exec(import.meta.url)![0];

/** Where a thread begins: its modules, which the build makes one file of (`npm run bundle`). */
export function threadEntry(thread: Thread): URL {
  return new URL(`netsy/${thread}.cjs`, BUILD);
}
