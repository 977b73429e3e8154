#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# build.sh CACHE NAME DIR: build the module, from the tree this script lies in,
# against kernels.sh's NAME, in DIR.  Warnings are errors.
#   CC= (6.1, 6.12, debug)  C=1: sparse
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
k=$1/$2
mkdir -p "$3/include"
dir=$(cd "$3" && pwd)
# only what changed gets a new time; what is no longer there goes
for f in "$dir"/kmod/*.[ch]; do
	[ -e "$tree/kmod/$(basename "$f")" ] || rm -f "$f"
done
(cd "$tree" && tar cf - Kbuild kmod include/uapi) | tar xf - -C "$dir"
log=$dir/build.log
# BTF of a module needs pahole and vmlinux; the tests need neither
set -- W=1 KCFLAGS=-Werror CONFIG_DEBUG_INFO_BTF_MODULES= ${CC:+CC="$CC"} ${C:+C="$C"} modules
if [ -d "$k/root" ]; then
	# private mounts: they go when this shell goes
	unshare -m sh -eu -c '
		mount --bind "$1/x" "$1/root/x"
		mount --bind "$2" "$1/root/m"
		mount --bind /dev "$1/root/dev"
		mount --bind /proc "$1/root/proc"	# objtool reads its stack limit
		k=$1
		shift 2
		exec chroot "$k/root" make -s -C "/x/usr/src/linux-headers-$(cat "$k/done")" M=/m "$@"
	' sh "$k" "$dir" "$@" >"$log" 2>&1
else
	make -s -C "$k/build" M="$dir" "$@" >"$log" 2>&1
fi || { cat "$log" >&2; exit 1; }
if grep -q 'warning: ' "$log"; then
	cat "$log" >&2
	exit 1
fi
