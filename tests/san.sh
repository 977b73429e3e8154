#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/san.sh [-j JOBS] address,undefined|thread [PATTERN]: the suite once more,
# built with sanitizers into a folder of its own.  Under address,undefined: all
# of it but the slow tests.  Under thread: the suites that have the words
# `seam test` in their first 30 lines, where two threads share memory.
#
# A suite that cannot run so (it counts allocations, or needs its own timing)
# asks test.h's SANITIZED and skips, saying why.
set -u
cd "$(dirname "$0")/.." || exit 2
jobs=$(nproc)
[[ ${1:-} = -j ]] && jobs=$2 && shift 2
kind=${1:?address,undefined or thread}
shift

# nothing may be let pass: any report ends the program that made it
# and a fault stays a signal: the keeper judges engines by it
export ASAN_OPTIONS=exitcode=99:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_abort=0
export LSAN_OPTIONS=print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=99
export TSAN_OPTIONS=halt_on_error=1:exitcode=99:handle_segv=0:handle_sigbus=0
skip() {
	echo "ok the suite under $kind # SKIP $1"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}
probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
echo 'int main(void) { return 0; }' |
	"${CC:-cc}" -fsanitize="$kind" -x c - -o "$probe" 2>/dev/null ||
	skip "this compiler has no -fsanitize=$kind"
# TSan's shadow wants memory that a kernel with much address randomness gives away
run=()
"$probe" 2>/dev/null || run=(setarch -R)
"${run[@]}" "$probe" 2>/dev/null || skip "a program built with it does not start here"
[[ $kind != thread ]] || grep -lq 'seam test' tests/*/test_* ||
	skip "no suite is marked as a seam test"

make -s -j"$jobs" SAN="$kind" tests || exit 1
build=build/san-${kind//,/-}
case $kind in
thread) "${run[@]}" tests/run -b "$build" -j "$jobs" -m 'seam test' "$@" ;;
*) "${run[@]}" tests/run -b "$build" -j "$jobs" -q "$@" ;;
esac
