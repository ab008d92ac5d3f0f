#!/bin/sh
# Starts netsy with what malloc must be told before a process begins (docs/decisions/memory.md): arguments, process id and
# signals are the server's own. The package's `netsy`, `npm start` and the bench run this.
#
# Only glibc knows these variables; to others they are nothing.

# NAME VALUE, unless the operator has one; an empty one stands for glibc's own way, which would take it for 0.
tell() {
  eval "value=\${$1-$2}"
  if [ -n "$value" ]; then export "$1=$value"; else unset "$1"; fi
}

case ${GLIBC_TUNABLES-} in
*glibc.malloc.*) ;;
*)
  tell MALLOC_ARENA_MAX 2
  tell MALLOC_MMAP_THRESHOLD_ 65536
  tell MALLOC_TRIM_THRESHOLD_ 131072
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

exec node "$package/dist/netsy/main.cjs" "$@"
