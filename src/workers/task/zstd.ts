let loading: Promise<typeof import('@mongodb-js/zstd')> | undefined;

/** zstd, which a thread loads with its first frame: that takes longer than to open a small log. */
export function zstd(): Promise<typeof import('@mongodb-js/zstd')> {
  loading ??= import('@mongodb-js/zstd');
  return loading;
}
