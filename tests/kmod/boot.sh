#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# boot.sh KERNEL-IMAGE INIT-BINARY FILE...: boot in qemu; the binary is init, the
# files lie beside it in the root directory, the console is our output, and the
# status is the test's own.
#   ACCEL=tcg,thread=single  SMP=2  MEM=512  TIMEOUT=300 (s)  APPEND=  QEMU_ARGS=
#
# No KVM by default, so that it works everywhere.  thread=single: qemu 7.2's
# parallel TCG breaks 6.12 now and then (cmpxchg16b in the slab fast path, code
# patched under another processor).  The two processors still interleave.
set -eu
image=$1 init=$2
shift 2
accel=${ACCEL:-tcg,thread=single}
case $accel in
kvm*) cpu=host ;;
*) cpu=max,cx16=off,la57=off ;;
esac
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/root/dev" "$tmp/root/proc" "$tmp/root/sys"
cp "$init" "$tmp/root/init"
for file; do
	cp "$file" "$tmp/root/"
	case $file in *.ko) strip --strip-debug "$tmp/root/$(basename "$file")" ;; esac
done
(cd "$tmp/root" && find . | cpio -o -H newc --quiet) >"$tmp/initrd"

set +e
# shellcheck disable=SC2086	# QEMU_ARGS are words
timeout -k 5 "${TIMEOUT:-300}" qemu-system-x86_64 \
	-machine pc -accel "$accel" -cpu $cpu -smp "${SMP:-2}" -m "${MEM:-512}" \
	-nodefaults -no-user-config -display none -no-reboot \
	-serial stdio -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
	${QEMU_ARGS:-} -kernel "$image" -initrd "$tmp/initrd" \
	-append "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic hung_task_panic=1 mitigations=off tsc=reliable ${APPEND:-}" \
	</dev/null
rc=$?
# isa-debug-exit: status = code * 2 + 1, so 1 is a pass and nothing else is: not a
# panic, a hang, a reboot
[ $rc -eq 1 ] && exit 0
echo "# boot.sh: qemu ended with $rc" >&2
exit 1
