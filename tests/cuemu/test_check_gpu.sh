#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check-gpu where there is no GPU, and with programs that only pretend: what is counted,
# what goes to the ledger, what is passed on, and what the table says.
set -u
. "$(dirname "$0")/../system/lib.sh"
script=$PWD/tests/cuemu/check-gpu
cd "$TMP" || exit 2
mkdir bin gpu
stub() { # FILE LINE...
	local file=$1
	shift
	printf '%s\n' '#!/bin/bash' "$@" >"$file"
	chmod +x "$file"
}
: >library.so

# ---- none ---------------------------------------------------------------
if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
	stub bin/nvidia-smi 'exit 1'
	out=$(PATH=$TMP/bin:$PATH "$script" gpu library.so ledger 2>&1)
	is "without a GPU: exit 0" "$?" 0
	is "without a GPU: the last line" "${out##*$'\n'}" "0 passed, 0 failed, 1 skipped"
fi

# ---- pretended ----------------------------------------------------------
# as speed.cu and peers.py print them
line='{"commit":"c","kernel":"gemm","fmt":"bf16","shape":{"n":8,"k":8,"t":1},"us":20.0,"us_min":19.0,"floor_us":10.00,"pct":50.0,"ok":true,"read_tbs":4.100,"bf16_tflops":700.0}'
other='{"commit":"c","peer":"torch.mm","kernel":"gemm","fmt":"bf16","shape":{"n":8,"k":8,"t":1},"us":25.0}'
slow_line='{"commit":"c","kernel":"attention_decode","fmt":"bf16","shape":{"b":1,"t":1,"context":9,"tiles_per_warp":2},"us":9.0,"floor_us":1.00,"pct":11.1,"ok":false}'
stub bin/nvidia-smi 'echo "A GPU, 1, 2, 3"'
stub bin/python3 "echo '$other'" 'echo "ok peers"'
stub bin/compute-sanitizer 'exit 9'
stub bin/ncu 'exit 1'
stub gpu/test_gemm 'echo "ok a"' 'echo "not ok b"' 'echo "ok c # SKIP why"' 'echo "1 passed, 1 failed, 1 skipped"' 'exit 1'
stub gpu/test_lost 'exit 3'
stub gpu/test_backend_e2e 'echo "# $LLM_READ_TBS $LLM_BF16_TFLOPS $LLM_CUDA_LIBRARY $LLM_BUDGET"' 'echo "ok e2e"'
stub gpu/probe 'sleep 100'
stub gpu/speed "echo '$line'" "echo '$slow_line'" 'echo "ok speed"'
# (llmd's part has nothing to serve with here)
out=$(PATH=$TMP/bin:$PATH LLM_BUILD=$TMP BUDGET=12 "$script" gpu library.so ledger 2>&1)
is "with one that failed: exit 1" "$?" 1
like "one that fails is told" "$out" 'not ok b'
like "one that dies is told" "$out" 'not ok test_lost # exit 3'
like "who needs longer than is left is cut off" "$out" 'ok probe # SKIP cut off after [0-9]+ s'
is "lines of JSON are not printed" "$(grep -c '^{' <<<"$out")" 0
like "what there was no time for is told" "$out" 'ok speed # SKIP the time is over'
like "the sum" "${out##*$'\n'}" '^1 passed, 2 failed, [0-9]+ skipped$'

stub gpu/probe 'echo "ok probe"'
rm gpu/test_lost
out=$(PATH=$TMP/bin:$PATH LLM_BUILD=$TMP BUDGET=60 OUT=$TMP "$script" gpu library.so ledger 2>&1)
is "the ledger has what was measured" "$(<ledger)" "$line"$'\n'"$slow_line"$'\n'"$other"
is "and so has OUT" "$(<gpu-ledger.jsonl)" "$(<ledger)"
like "steps know the ceilings and the library" "$out" "# 4.100 700.0 $TMP/library.so "
like "the sanitizer's word counts" "$out" 'not ok memcheck test_gemm # exit 9'
is "the table, the worst first" "$(grep ' %  *[0-9]' <<<"$out")" \
	"#  11.1 %       9.0       1.0  attention_decode  bf16  \"b\":1,\"t\":1,\"context\":9,\"tiles_per_warp\":2  NOT OK
#  50.0 %      20.0      10.0  gemm              bf16  \"n\":8,\"k\":8,\"t\":1  torch.mm 25.0"
finish
