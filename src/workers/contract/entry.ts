/** The threads that this program starts. */
type Thread = 'file' | 'log-snapshot' | 'reader' | 'snapshot' | 'task' | 'writer';

/** Where a thread begins: its modules, which the build makes one file of (`build/bundle.ts`). */
export function threadEntry(thread: Thread): URL {
  return new URL(`../../../netsy/${thread}.js`, import.meta.url);
}
