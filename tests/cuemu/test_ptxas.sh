#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test: where nvcc is, every kernel compiles for sm_80 and sm_90a, none of
# them uses local memory (`make cuda` says which), and their machine code is made
# of what sass.txt says.  And every program that `make check-gpu` runs compiles.
cd "$(dirname "$0")/../.." || exit 2
B=${LLM_BUILD:-build}
out=$(make -s --no-print-directory B="$B" SAN= MARKS= libllm-cuda 2>&1)
rc=$?
if [[ $rc != 0 ]]; then
	tail -n 20 <<<"$out" | sed 's/^/# /'
	lines="not ok kernels keep to their registers"
elif [[ $out == *skipped* ]]; then
	lines="ok kernels keep to their registers # SKIP ${out##*skipped, }"
else
	lines="ok kernels keep to their registers
$(tests/cuemu/sass.sh "$B/libllm-cuda.so")"
fi
nvcc=$(PATH=$PATH:/usr/local/cuda/bin type -P nvcc)
if [[ -z $nvcc ]]; then
	lines+=$'\n'"ok GPU programs compile # SKIP there is no nvcc here"
else
	verdict=ok
	for f in tests/cuemu/test_*.cu tests/cuemu/probe.cu tests/cuemu/speed.cu; do
		[[ $f = */test_emu.cu ]] && continue # wrong on purpose, and for the emulator
		out=$("$nvcc" -std=c++17 -O0 -fmad=false -I. -arch=sm_90a -c -o /dev/null "$f" 2>&1) && continue
		sed "s|^|# $f: |" <<<"$out"
		verdict='not ok'
	done
	lines+=$'\n'"$verdict GPU programs compile"
fi
echo "$lines"
failed=$(grep -c '^not ok' <<<"$lines") skipped=$(grep -c '# SKIP' <<<"$lines")
echo "$(($(grep -c '^ok' <<<"$lines") - skipped)) passed, $failed failed, $skipped skipped"
exit $((failed > 0))
