#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# debug.sh CACHE: build a kernel full of checks (KASAN, lockdep, kmemleak, fault
# injection ...) from Debian's linux-source-6.12 with debug.config.  Leaves
# CACHE/debug as kernels.sh would.  14 minutes of CPU; JOBS=1 by default, at
# nice 19.  Needs: flex bison bc libelf-dev xz-utils.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mirror="" dir=""
. "$here/apt.sh"
out=$1/debug
mkdir -p "$out/build"
out=$(cd "$out" && pwd)
stamp=$(cksum <"$here/debug.config")
[ -e "$out/done" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] && exit 0
rm -f "$out/done"

src=$out/linux-source-6.12
if [ ! -e "$src/Makefile" ]; then
	apt_root "$out/apt" "$mirror bookworm-backports"
	(cd "$out" && apt_private download linux-source-6.12 >>"$dir/log" 2>&1)
	dpkg -x "$out"/linux-source-6.12_*.deb "$out/x"
	tar xf "$out/x/usr/src/linux-source-6.12.tar.xz" -C "$out"
	rm -rf "$out/x" "$out"/linux-source-6.12_*.deb
fi
make -s -C "$src" O="$out/build" tinyconfig
grep -v '^# [A-Z][^O]' "$here/debug.config" >>"$out/build/.config"
make -s -C "$src" O="$out/build" olddefconfig
grep -E '^CONFIG_|is not set$' "$here/debug.config" | while read -r line; do
	# a symbol that does not exist is not set either
	case $line in "#"*) name=${line#\# } name=${name%% *}
		! grep -q "^$name=" "$out/build/.config" ;;
	*) grep -qxF "$line" "$out/build/.config" ;;
	esac || { echo "debug.sh: not taken: $line" >&2; exit 1; }
done
nice -n 19 make -s -C "$src" O="$out/build" -j"${JOBS:-1}" bzImage modules
ln -sfn "$out/build/arch/x86/boot/bzImage" "$out/vmlinuz"
echo "$stamp" >"$out/stamp"
echo debug >"$out/done"
