#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test: where nvcc is, every kernel compiles for sm_80 and sm_90a, and none
# of them uses local memory (`make cuda` says which).
cd "$(dirname "$0")/../.." || exit 2
name="kernels keep to their registers"
out=$(make -s --no-print-directory B="${LLM_BUILD:-build}" SAN= MARKS= cuda 2>&1)
rc=$?
if [[ $rc != 0 ]]; then
	tail -n 20 <<<"$out" | sed 's/^/# /'
	echo "not ok $name"
	echo "0 passed, 1 failed, 0 skipped"
elif [[ $out == *skipped* ]]; then
	echo "ok $name # SKIP ${out##*skipped, }"
	echo "0 passed, 0 failed, 1 skipped"
else
	echo "ok $name"
	echo "1 passed, 0 failed, 0 skipped"
fi
exit $rc
