import { readTokenKeys } from './auth/open-tokens.ts';
import type { ConfigOrder } from './config/command-config.ts';
import { readTlsFiles } from './rpc/tls-files.ts';

/** `netsy config check`: reads the files that the settings and AWS's own name, and prints the settings. Rejects with an Error of one line. */
export async function runConfigCheck(order: ConfigOrder, result: (text: string) => void): Promise<void> {
  const { settings, values, warnings, json } = order;
  if (settings.tls !== undefined) readTlsFiles(settings.tls.files);
  readTokenKeys(settings.authToken);
  if (settings.store.startsWith('s3:')) {
    // Loaded by whoever needs it, as by a start. It is not connected to, and nothing is asked for credentials.
    const [{ openStoreToRead }, { storeOptions }] = await Promise.all([
      import('./store/open.ts'),
      import('./probed-store.ts'),
    ]);
    await (await openStoreToRead(settings.store, storeOptions(settings))).close();
  }
  if (json) {
    result(JSON.stringify({ ok: true, warnings, values }));
    return;
  }
  const rows = values.map(({ flag, value, source }) => [`--${flag}`, value ?? '(none)', source] as const);
  const [name, text] = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows) result(`${row[0].padEnd(name!)}  ${row[1].padEnd(text!)}  ${row[2]}`);
  for (const warning of warnings) result(`warning: ${warning}`);
  result(
    'a server would start with these settings; whether its store can be reached is what netsy doctor says',
  );
}
