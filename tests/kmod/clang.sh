#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# clang.sh CACHE DIR: build the module with clang, in DIR, against the source that
# debug.sh left in CACHE, prepared for clang in CACHE/clang (once, half a minute of
# CPU): Debian's headers carry the options of the gcc that built its kernels.
# Warnings are errors.  Not to be loaded: no kernel was built.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
src=$1/debug/linux-source-6.12
out=$1/clang
cc=${CLANG:-clang}
version=$($cc --version | head -n 1)
if [ "$(cat "$out/done" 2>/dev/null)" != "$version" ]; then
	rm -rf "$out"
	mkdir -p "$out"
	make -s -C "$src" O="$out" CC="$cc" defconfig
	make -s -C "$src" O="$out" CC="$cc" modules_prepare
	echo "$version" >"$out/done"
fi
mkdir -p "$2"
dir=$(cd "$2" && pwd)
rm -rf "$dir/kmod"
(cd "$tree" && tar cf - Kbuild kmod include/uapi) | tar xf - -C "$dir"
# no kernel, so no list of its symbols: modpost cannot find any
make -s -C "$out" M="$dir" CC="$cc" W=1 KCFLAGS=-Werror KBUILD_MODPOST_WARN=1 modules >"$dir/build.log" 2>&1 || {
	cat "$dir/build.log"
	exit 1
}
! grep 'warning: ' "$dir/build.log"
