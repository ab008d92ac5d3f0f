#!/bin/sh
# Starts netsy with what malloc must be told before a process begins (docs/decisions/memory.md): arguments, process id and
# signals are the server's own. The package's `netsy`, `npm start` and the bench run this.
#
# Values of the operator stay. Only glibc knows these variables; to others they are nothing.
case ${GLIBC_TUNABLES-} in
*glibc.malloc.*) ;;
*)
  export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX-2}"
  export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_-65536}"
  export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_-131072}"
  ;;
esac

# npm makes a symbolic link of a package's program.
self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
  /*) self=$target ;;
  *) self=${self%/*}/$target ;;
  esac
done

package=$(CDPATH= cd -P -- "${self%/*}/../.." && pwd -P) || exit

exec node "$package/dist/src/main/main.js" "$@"
