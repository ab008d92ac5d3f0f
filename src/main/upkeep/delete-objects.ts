import type { ObjectStore } from '../store/store.ts';

/** Objects deleted at the same time. All of them are gone before the next ones are. */
const DELETES_AT_ONCE = 16;

/** Deletes objects in their order; resolves to how many. */
export async function deleteObjects(
  store: Pick<ObjectStore, 'delete'>,
  keys: AsyncIterable<string>,
): Promise<number> {
  let deleted = 0;
  let group: string[] = [];
  const deleteGroup = async (): Promise<void> => {
    await Promise.all(group.map((key) => store.delete(key)));
    deleted += group.length;
    group = [];
  };
  for await (const key of keys) {
    group.push(key);
    if (group.length === DELETES_AT_ONCE) await deleteGroup();
  }
  await deleteGroup();
  return deleted;
}
