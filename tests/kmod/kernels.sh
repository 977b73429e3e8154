#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# kernels.sh CACHE 6.1|6.12|new: download and unpack (never install) one of
# Debian's kernels with its headers.  Leaves in CACHE/NAME:
#   vmlinuz   the kernel to boot
#   build     its header tree
#   root      only for "new": a small trixie root whose gcc and libc fit its tools
#   done      the release; written last
# "new" is the newest in trixie-backports; it needs root (chroot).  About 55 MB a
# kernel, 75 MB for the root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mirror="" security="" dir=""
. "$here/apt.sh"
cache=$1 name=$2
out=$cache/$name
[ -e "$out/done" ] && exit 0
mkdir -p "$out"
out=$(cd "$out" && pwd)

case $name in
6.1) apt_root "$out/apt" "$mirror bookworm" "$security bookworm-security" ;;
6.12) apt_root "$out/apt" "$mirror bookworm-backports" ;;
new) apt_root "$out/apt" "$mirror trixie-backports" ;;
*) echo "kernels.sh: 6.1, 6.12 or new" >&2; exit 2 ;;
esac

show() { apt_with apt-cache --no-all-versions show "$1" 2>/dev/null; }
flavour=cloud-amd64
rel=$(show linux-headers-$flavour |
	sed -n "s/^Depends:.*linux-headers-\([^ ,]*\)-$flavour .*/\1/p" | head -n 1)
[ -n "$rel" ] || { echo "kernels.sh: no linux-headers-$flavour for $name" >&2; exit 1; }
kbuild=$(show "linux-headers-$rel-$flavour" |
	sed -n 's/^Depends:.*\(linux-kbuild-[^ ,]*\).*/\1/p' | head -n 1)
pkgs="linux-headers-$rel-$flavour linux-headers-$rel-common $kbuild"
for p in "linux-binary-$rel-$flavour" "linux-image-$rel-$flavour-unsigned"; do
	if [ -n "$(show "$p")" ]; then
		pkgs="$pkgs $p"
		break
	fi
done
rm -rf "$out/debs" "$out/x"
mkdir -p "$out/debs" "$out/x"
# shellcheck disable=SC2086	# words
(cd "$out/debs" && apt_private download $pkgs >>"$dir/log" 2>&1)
for d in "$out"/debs/*.deb; do
	dpkg -x "$d" "$out/x"
done
rm -rf "$out/debs"
for image in "$out"/x/boot/vmlinuz-* "$out"/x/usr/lib/modules/*/vmlinuz; do
	[ -e "$image" ] && ln -sfn "$image" "$out/vmlinuz"
done
ln -sfn "$out/x/usr/src/linux-headers-$rel-$flavour" "$out/build"

prefix=$out/x
if [ "$name" = new ]; then
	prefix=/x
	mkdir -p "$out/root"
	apt_root "$out/apt-tools" "$mirror trixie"
	apt_private install -y --no-install-recommends --download-only gcc-14 make pahole \
		libelf1t64 libssl3t64 zlib1g bash coreutils sed grep gawk findutils \
		diffutils perl-base >"$dir/log" 2>&1 || { tail "$dir/log" >&2; exit 1; }
	for d in "$dir"/var/cache/apt/archives/*.deb; do
		dpkg -x "$d" "$out/root"
	done
	rm -rf "$dir/var/cache/apt/archives"
	ln -sf bash "$out/root/usr/bin/sh" # what maintainer scripts would have done
	ln -sf gawk "$out/root/usr/bin/awk"
	mkdir -p "$out/root/x" "$out/root/m" "$out/root/dev" "$out/root/proc"
fi
# the header trees name each other by absolute path; 6.12's knows its own
{
	[ "$name" = new ] && echo "KBUILD_OUTPUT = $prefix/usr/src/linux-headers-$rel-$flavour"
	echo "include $prefix/usr/src/linux-headers-$rel-common/Makefile"
} >"$out/build/Makefile"
echo "$rel-$flavour" >"$out/done"
