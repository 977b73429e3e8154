#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What libllmclient.so shows is what llmclient.h declares, and no more.
set -u
B=${LLM_BUILD:-build}
passed=0 failed=0
is() {
	if [[ $2 == "$3" ]]; then
		passed=$((passed + 1)) && echo "ok $1"
	else
		diff <(echo "$2") <(echo "$3") | sed 's/^/# /'
		failed=$((failed + 1)) && echo "not ok $1"
	fi
}
end() {
	echo "$passed passed, $failed failed, ${1:-0} skipped"
	exit $((failed > 0))
}
if ! command -v nm >/dev/null; then
	echo "ok symbols # SKIP no nm (binutils)"
	end 1
fi

shown=$(nm -D --defined-only "$B/libllmclient.so" | awk '$2 ~ /[TDBRVW]/ { sub(/@.*/, "", $3); print $3 }' | sort)
# comments out, then every word before a parenthesis
declared=$(sed -e ':a; s|/\*.*\*/||; /\/\*/ { N; ba; }' include/llmclient.h |
	grep -oE '\bllmc_[a-z_]+\(' | tr -d '(' | sort -u)
is "the library shows the calls of its header and nothing else" "$shown" "$declared"

# what it takes from outside is the C library: no jansson, no daemon
needed=$(readelf -d "$B/libllmclient.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
	grep -vE '^(libc\.so|ld-linux|libpthread|lib[a-z]*san|libgcc_s|libm\.so)')
is "it needs the C library only" "$needed" ""

soname=$(readelf -d "$B/libllmclient.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
is "its name carries the version of its interface" "$soname" "libllmclient.so.0"
end
