/**
 * HTTP/2 receive windows, of clients' connections and of our own. node's 64 KiB make a client with hundreds of writes in
 * flight wait for updates. The connection's window bounds what one connection can make us hold unread.
 */
export const STREAM_WINDOW_BYTES = 1024 * 1024;
export const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;
/** The most that HTTP/2 allows a window to be. */
export const WINDOW_BYTES_MAX = 2 ** 31 - 1;
