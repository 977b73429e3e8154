#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_tiles.sh: the register tiles stay in registers.  gcc has spilled the sums
# of a tile onto the stack before and cost it a third of its speed; two flags in
# the Makefile keep it from that.  So: in the disassembly of every tile, vector
# registers that meet the stack inside a loop, at most as many as said here.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${LLM_BUILD:-build}
most() { # FILE TILE: what is known and was looked at; all others: none
	case $1:$2 in
	# 5 bits with four tokens: 12 sums, 3 constants, code and input
	packed_avx2:tile_Q5_[01]_4) echo 24 ;;
	packed_avx2:tile_Q5_K_4) echo 56 ;;
	# 16-runs with four tokens: minima, or 32 less, are not in registers
	packed_avx2:tile_Q2_K_4) echo 52 ;;
	packed_avx2:tile_Q6_K_4) echo 36 ;;
	packed_avx2:tile_MXFP4_4) echo 12 ;;
	packed_avx512:tile_Q5_[01]_8) echo 12 ;;
	*) echo 0 ;;
	esac
}

passed=0 failed=0
skip() {
	echo "ok tiles_stay_in_registers # SKIP $1"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}
command -v objdump >/dev/null || skip "no objdump"
shopt -s nullglob
objects=("$build"/obj/kernels/cpu/{gemm,packed}_*.o)
[[ ${#objects[@]} -gt 0 ]] || skip "no tiles in $build"
gcc=$(strings -a "${objects[0]}" | grep -m1 -oE '^GCC: .* [0-9]+\.[0-9.]+$' | grep -oE '[0-9]+\.[0-9.]+$')
[[ $gcc == 12.* ]] || skip "the numbers are gcc 12's, here is ${gcc:-another compiler}"
nm "${objects[@]}" | grep -qE '__(asan|ubsan|tsan)_' && skip "a sanitizer's build"

for o in "${objects[@]}"; do
	file=$(basename "$o" .o)
	# a line a tile: its name, how many.  A loop: from a conditional jump back
	# to its target (jmp comes from code that was moved behind the ret)
	while read -r tile count; do
		limit=$(most "$file" "$tile")
		if [[ $count -le $limit ]]; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "# $file: $tile: $count, at most $limit"
			echo "not ok ${file}_$tile"
		fi
	done < <(objdump -d --no-show-raw-insn "$o" | awk '
		function hex(s, n, i) { # mawk has no strtonum()
			for (i = 1; i <= length(s); i++)
				n = 16 * n + index("0123456789abcdef", substr(s, i, 1)) - 1
			return n
		}
		function done_with() {
			if (name !~ /^tile_/)
				return
			total = 0
			for (a in stack)
				for (j = 0; j < jumps; j++)
					if (a + 0 >= to[j] && a + 0 <= at[j]) {
						total++
						break
					}
			print name, total
		}
		/^[0-9a-f]+ <.*>:$/ {
			done_with()
			name = substr($2, 2, length($2) - 3)
			jumps = 0
			frame = "\\(%rsp"
			delete stack
			next
		}
		/mov +%rsp,%rbp/ { frame = "\\(%r[sb]p" }
		/^ *[0-9a-f]+:/ {
			here = hex(substr($1, 1, length($1) - 1), 0)
			if ($2 ~ /^j[^m]/ && hex($3, 0) < here) {
				at[jumps] = here
				to[jumps++] = hex($3, 0)
			}
			if (/%[xyz]mm/ && $0 ~ frame)
				stack[here] = 1
		}
		END { done_with() }')
done
[[ $passed -gt 50 ]] || { echo "not ok tiles_are_found # $passed"; failed=$((failed + 1)); }
[[ $failed = 0 ]] && echo "ok tiles_stay_in_registers"
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed = 0 ]]
