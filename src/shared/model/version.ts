/** What this server says of itself. */

/** This package's version; a test holds it equal to package.json's. */
export const NETSY_VERSION = '0.1.0';

/**
 * The etcd release whose API is served. Clients gate features on it: kube-apiserver asks for watch
 * progress only from a version it knows to be good (not below 3.4.31, not 3.5.0 to 3.5.12).
 */
export const ETCD_VERSION = '3.7.3';

/** etcd's cluster and storage versions keep major and minor, and end in 0. */
export const ETCD_CLUSTER_VERSION = '3.7.0';
export const ETCD_STORAGE_VERSION = '3.7.0';

/**
 * The storage version in a snapshot's file. 3.7 changed nothing in what is stored, so that etcd 3.6 takes it up as well
 * as 3.7; older ones don't look at it.
 */
export const ETCD_FILE_STORAGE_VERSION = '3.6.0';
