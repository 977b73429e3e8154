#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The shared library exports what llmclient.h declares and the manual documents,
# nothing else; the static one brings no global name that is not llmc_; and it
# needs nothing but the C library.
set -u
cd "$(dirname "$0")/../.." || exit 2
b=${LLM_BUILD:-build}
passed=0 failed=0
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
same() { # NAME A B
	if diff "$2" "$3" >"$t/diff"; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		sed 's/^/# /' "$t/diff"
		echo "not ok $1"
		failed=$((failed + 1))
	fi
}
: >"$t/none"
nm -D --defined-only "$b/libllmclient.so" | awk '$2 ~ /[TDBRV]/ { print $3 }' |
	sed 's/@.*//' | sort >"$t/exported"
grep -oE '\bllmc_[a-z_]+\(' include/llmclient.h | tr -d '(' | sort -u >"$t/named"
# in comments a call stands as llmc_x() too: a declaration has its type before
grep -E '^[a-z].*\bllmc_[a-z_]+\(' include/llmclient.h |
	grep -oE '\bllmc_[a-z_]+\(' | tr -d '(' | sort -u >"$t/declared"
same "the shared library exports what the header declares" "$t/declared" "$t/exported"
comm -23 "$t/named" "$t/declared" >"$t/unknown"
same "the header's comments name calls that exist" "$t/none" "$t/unknown"
nm -g --defined-only "$b/libllmclient.a" | awk 'NF == 3 { print $3 }' |
	grep -vE '^(llmc_|shm_fence_word$|_?_?(asan|tsan|ubsan|odr_asan))' >"$t/foreign"
same "the static library's global names begin with llmc_" "$t/none" "$t/foreign"
objdump -p "$b/libllmclient.so" | awk '$1 == "NEEDED" { print $2 }' |
	grep -vE '^(libc\.so|libpthread|ld-linux|lib(a|t|ub)san|libgcc_s|libm\.so|librt|libdl)' >"$t/needs"
same "the library needs the C library only" "$t/none" "$t/needs"
if [[ -e doc/man/llmclient.3 ]]; then
	grep -oE '\bllmc_[a-z_]+' doc/man/llmclient.3 | sort -u |
		comm -23 "$t/declared" - >"$t/silent"
	same "the manual names every call" "$t/none" "$t/silent"
fi
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed = 0 ]]
