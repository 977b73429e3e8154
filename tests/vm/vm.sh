#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/vm/vm.sh CACHE KERNEL RUN [FILE...]: boot one of the stock kernels
# that tests/kmod/kernels.sh put into CACHE, with the module that
# tests/kmod/build.sh built, and run the script RUN inside as root; its
# status is ours.
#
# The machine sees the FILEs (of the tree: files or folders) at their paths
# under /llm, the programs named in TOOLS= beside
# busybox's, and the libraries that all of them need.  No disk, no network.
#   SUITES= (for system.sh)  TOOLS=  MEM=1024  SMP=2  TIMEOUT=300 (s)  APPEND=  ACCEL=
set -eu
cd "$(dirname "$0")/../.."
cache=$1 kernel=$2 run=$3
shift 3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
root=$tmp/root
mkdir -p "$root/llm" "$root/etc" "$root/bin"

# what is asked for, where it was
tar -cf - --exclude='obj' --exclude='*.a' "$@" | tar -xf - -C "$root/llm"
for tool in ${TOOLS:-}; do
	path=$(command -v "$tool") || { echo "vm.sh: no $tool here" >&2; exit 1; }
	install -D "$(readlink -f "$path")" "$root/usr/bin/$tool"
done
# the libraries of all that, at the paths the programs know
find "$root" -type f -perm -100 -exec ldd {} + 2>/dev/null |
	awk '{ for (i = 1; i < NF; i++) if ($i ~ "^/" && $(i + 1) ~ /^\(0x/) print $i }' | sort -u |
	while read -r lib; do
		[[ -e $root$lib ]] || install -Dm 755 "$(readlink -f "$lib")" "$root$lib"
	done
# strip: half of what has to be unpacked by an emulated processor
find "$root" -type f -perm -100 -exec strip --strip-debug {} + 2>/dev/null || true
for n in 0:root 1000:ada 1001:bob 1002:eve; do
	echo "${n#*:}:x:${n%:*}:${n%:*}::/tmp:/bin/sh" >>"$root/etc/passwd"
	echo "${n#*:}:x:${n%:*}:" >>"$root/etc/group"
done
cp "$run" "$root/run.sh"
printf '%s' "${SUITES:-}" >"$root/etc/llm-suites"
tar -cf "$tmp/root.tar" -C "$root" .
rm -rf "$root"

"${CC:-cc}" -O2 -static -o "$tmp/vm-exit" tests/vm/vm-exit.c
cp "$(command -v busybox)" "$tmp/busybox"
# its clock must be right while the host is busy: no TSC
MEM=${MEM:-1024} TIMEOUT=${TIMEOUT:-300} APPEND="tsc=unstable clocksource=acpi_pm ${APPEND:-}" \
	tests/kmod/boot.sh "$cache/$kernel/vmlinuz" tests/vm/init \
	"$tmp/busybox" "$tmp/root.tar" "$tmp/vm-exit" "${LLM_BUILD:-build}/kmod/$kernel/llm.ko"
