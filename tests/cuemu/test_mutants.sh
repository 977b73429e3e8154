#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test: the check of the checks.  One line of a kernel is broken, the test of
# that kernel is built with it, and has to fail.  MUTANTS=all: every one of the
# list; MUTANTS=KERNEL: all of that one; else those marked +, one of each kind.
set -u
cd "$(dirname "$0")/../.." || exit 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 skipped=0
cxx=${CXX:-g++}
flags=(-std=c++17 -O1 -w -ffp-contract=off -U_FORTIFY_SOURCE -I"$dir" -I. -include tests/cuemu/cuemu.h)
obj=${LLM_BUILD:-build}/obj
libs=("$obj/cuemu/tests/cuemu/runtime.o" "${LLM_BUILD:-build}/libllmkernels.a" "${LLM_BUILD:-build}/libllmbase.a" -pthread)
if [[ $(uname -m) != x86_64 ]] || ! command -v "$cxx" >/dev/null; then
	echo "ok mutants # SKIP wants a C++ compiler and x86-64"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi

not_ok() { # NAME, WHY
	echo "# $2"
	echo "not ok $1"
	failed=$((failed + 1))
}

# break FILE by the sed EXPRESSION; test_KERNEL, or test_TEST, has to see it
try() { # MARK KERNEL[/TEST] FILE EXPRESSION WHAT
	local kernel=${2%/*} test=${2#*/} file=$3 name="$2: $5 is caught" first o others=() own
	[[ $1 = + || ${MUTANTS:-few} = all || ${MUTANTS:-few} = "$kernel" ]] || return 0
	rm -rf "$dir/kernels"
	mkdir -p "$dir/kernels/cuda"
	cp kernels/cuda/* "$dir/kernels/cuda"
	sed -i "$4" "$dir/kernels/cuda/$file"
	cmp -s "kernels/cuda/$file" "$dir/kernels/cuda/$file" &&
		{ not_ok "$name" "the expression changes nothing in $file"; return; }
	for o in "$obj"/cuemu/kernels/cuda/*.o; do
		[[ $o = */"$kernel.o" ]] || others+=("$o")
	done
	if [[ -e kernels/cuda/$kernel.c ]]; then
		"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -w -I"$dir" -I. -Itests/cuemu/fake -c -o "$dir/$kernel.o" \
			"$dir/kernels/cuda/$kernel.c" >"$dir/log" 2>&1 || { not_ok "$name" "does not compile"; return; }
		own=(-x none "$dir/$kernel.o" -x c++)
	else
		own=(-x c++ "$dir/kernels/cuda/$kernel.cu")
	fi
	"$cxx" "${flags[@]}" -o "$dir/test" "${own[@]}" \
		"tests/cuemu/test_$test.cu" -x none "${others[@]}" "${libs[@]}" >"$dir/log" 2>&1 ||
		{ not_ok "$name" "does not compile: $(head -n 1 "$dir/log")"; return; }
	first=$(timeout 120 "$dir/test" 2>&1 | grep -m1 '^not ok\|: Assertion ')
	[[ -n $first ]] || { not_ok "$name" "every test passes"; return; }
	echo "# by ${first#not ok }"
	echo "ok $name"
	passed=$((passed + 1))
}

try + norm norm.cuh 's/__syncthreads();//' "a missing barrier"
try . norm norm.cuh 's/int s = 16; s;/int s = 8; s;/' "half a warp's sum"
try . norm norm.cu 's/dim <= PAIRS/dim - 2 <= PAIRS/' "an instance too small"
try . norm norm.cuh 's/id < (size_t)p.vocab/true/' "a token that is none"

try + gemm gemm.cuh 's/__syncthreads();//' "a missing barrier"
try . gemm gemm.cuh 's/copy_wait<STAGES - 2>/copy_wait<STAGES - 1>/' "a wait one stage too short"
try . gemm gemm.cuh 's/int next = s + STAGES - 1/int next = s + STAGES/' "a stage refilled while it is read"
try + gemm gemm.cuh 's/bool take = token < p.tokens/bool take = true/' "a read past the last token"
try . gemm gemm.cuh 's/scale += rows;//' "a group's scale for the next"
try . gemm gemm.cuh 's/less += rows;//' "a group's zero point for the next"
try . gemm weight.cuh 's/zero\[j % 2\]/zero[0]/' "the zero point of another row"
try . gemm ends.cuh 's/if (token < p.tokens)//' "a write past the last token"
try . gemm gemm.cu 's/(args->tokens + 8 \* TILES - 1)/args->tokens/' "too few tiles for the tokens"
try . gemm layout.h 's/((chunk ^ (row \& 7)) << 4)/(chunk << 4)/' "a tile without swizzle"
try . gemm weight.cuh 's/0xc308c308/0xc307c307/' "a zero point off by one"
try . gemm weight.cuh 's/(w \& 0x00800080) << 8/0/' "a lost sign"
try . gemm weight.cuh 's/mma_f16(d/mma(d/' "f16 taken for bf16"
try + gemm/ends gemm.cuh 's/ && col < p.k//' "a read past the last column"
try . gemm/ends gemm.cuh 's/p.x_row\[token\]/token/' "rows that are not picked"
try . gemm/ends ends.cuh 's/silu_mul(a, b)/silu_mul(b, a)/' "up for gate"
try . gemm/ends ends.cuh 's/a += bias_low/a += bias_high/' "the bias of another row"
try . gemm/ends gemm.cu 's/layout_rows(args->n) \//args->n \//' "rows past the last whole CTA"

try . gemm_sm90 gemm_sm90.cuh 's/wgmma_wait<0>();//' "a sum read in flight"
try + gemm_sm90 gemm_sm90.cuh 's/wgmma_wait<1>/wgmma_wait<2>/' "a stage given back while it is read"
try . gemm_sm90 gemm_sm90.cuh 's/mbarrier_wait(ring.empty(s), 1 - ring.parity(s));//' "a stage refilled that is not given back"
try . gemm_sm90 gemm_sm90.cuh 's/1 - ring.parity(s)/ring.parity(s)/' "a barrier's other phase"
try . gemm_sm90 gemm_sm90.cuh 's/copy_wait<AHEAD>/copy_wait<AHEAD + 1>/' "a stage called full too early"
try . gemm_sm90 gemm_sm90.cuh 's/wgmma_sees();//' "copies that the tensor core does not see"
try . gemm_sm90 gemm_sm90.cuh 's/wgmma_fence();//' "a missing fence"
try + gemm_sm90 gemm_sm90.cuh 's/layout_tile(thread \/ 8, chunk)/thread \/ 8 * 128 + chunk * 16/' "a tile without swizzle"
try . gemm_sm90 gemm_sm90.cuh 's/mbarrier_wait(ring.done(), 0);//' "an end written where others still read"
try . gemm_sm90 gemm_sm90.cuh 's/^\t__syncwarp();//' "an end read before the other lanes wrote"
try . gemm_sm90 gemm_sm90.cuh 's/left < near ? left : near/near/' "tiles of tokens that are not there"
try . gemm_sm90 gemm_sm90.cuh 's/token >= p.tokens ? NONE/false ? NONE/' "a read past the last token"
try . gemm_sm90 gemm_sm90.cuh 's/ && col < p.k//' "a read past the last column"
try . gemm_sm90 gemm_sm90.cuh 's/scale += rows;//' "a group's scale for the next"
try . gemm_sm90/codes gemm_sm90.cuh 's/!W::CODES || at < bytes/true/' "weights past the last stage"
try . gemm_sm90/codes gemm_sm90.cuh 's/v\[0\] \* s\[i\] \* low/v[0] * (s[i] * low)/' "scales in another order"
try . gemm_sm90 weight.cuh 's/wgmma_f16(d/wgmma(d/' "f16 taken for bf16"
try . gemm_sm90 ends.cuh 's/= old + v/= v/' "a sum that is not added to"

try + qkv qkv.cuh 's/if (slot \/ KV_BLOCK == 0)/if (0)/' "a write to the null block"
try . qkv qkv.cuh 's/scales\[to.token\]/scales[0]/' "the scale of another token"
try . qkv qkv.cuh 's/fmaf(a, c, -(b \* s))/fmaf(a, c, b * s)/' "a turn the other way"
try . qkv qkv.cuh 's/key ? p.k_norm/key ? p.q_norm/' "the norm of q for k"

try + sample sample.cuh 's/1\.001f/0.5f/' "an id passed over that may win"
try . sample select.cuh 's/(need + weight - 1) \/ weight/need \/ weight/' "a tie too few at a cut"
try . sample select.cuh 's/before < \*need \&\& \*need <= before/before <= *need \&\& *need < before/' "a digit too far"
try . sample sample.cuh 's/atomicExch(count + id, 0u)/count[id]/' "a penalty for each time"

try + codes codes.cuh 's/sum\[c\] \*= 256/sum[c] *= 128/' "an upper byte that weighs half"
try . codes codes.cuh 's/tail\[run \* F::RUN \/ 32\]/tail[0]/' "the scale of the run before"
try . codes codes.cuh 's/0x08080808) \* 30/0x08080808) * 14/' "a sign that ends early"
try . quantize/codes quantize.cuh 's/scale \* (float)sum/scale/' "a sum of codes left out"
try . quantize/codes quantize.cuh 's/top = fmaxf(top, part\[i\])/top = part[0]/' "the largest of some"

try . copy copy.cuh 's/if (i + j \* COPY_THREADS < end)/if (1)/' "a copy past the end"

try . attention attention.cuh 's/copy_wait<ATTENTION_BLOCKS - 1>/copy_wait<ATTENTION_BLOCKS>/' "a read before the copy has landed"
try + attention attention.cuh 's/layout_kv_token(COLS, c) < tokens)/true)/' "a stale slot taken for a zero"
try . attention attention.cuh 's/(see\[h\] - position) </(see[h] - position - 1) </' "a mask off by one"
try . attention attention.cuh 's/fmaf(a.l\[h\], x, t.l\[h\] \* y)/(a.l[h] + t.l[h])/' "a fold without rescaling"
try . attention attention.cuh 's/before != warps - 1/before != warps/' "a fold by nobody"
try + attention attention.cuh 's/for (int tile = t.begin; tile < t.end; tile++)/for (int tile = t.end - 1; tile >= t.begin; tile--)/' "a fold right to left"
try . attention attention.cuh 's/\*count = 0;/;/' "a counter left as it is"
try . attention attention.cuh 's/ATTENTION_BLOCKS + i)/i)/' "the block table of the tile before"
try . attention layout.h 's/(chunk ^ row \* pairs \/ 4)/chunk/' "a block without swizzle"
try . attention attention.cuh 's/< (unsigned)window/<= (unsigned)window/' "a window off by one"
try . attention attention.cuh 's/ && position + KV_BLOCK > from//' "a block before the window"
try . attention attention.cuh 's/tile - t.begin) /tile) /' "a part without a place"
try . attention attention.cuh 's/c \/ 4 \* 8 + threadIdx.x % 4/threadIdx.x % 4/' "the scale of a key of the other half"
try . attention attention.cuh 's/e\[c\] > 0 ? e\[c\] \* \(.*\) : 0;/e[c] * \1;/' "a stale scale taken for a number"
try . attention attention.cuh 's/src + (c \/ COLS \* DIM + c % COLS) \* 16/src + c * 16/' "columns of the wrong half"

try . attention_sm90 attention_sm90.cuh 's/wgmma_wait<0>();//' "a sum read in flight"
try + attention_sm90 attention_sm90.cuh 's/^\tmbarrier_arrive_warp(ring.empty(2 \* i + 1));//;s/ring.empty(2 \* i));/&mbarrier_arrive_warp(ring.empty(2 * i + 1));/' "a stage given back before it is read"
try . attention_sm90 attention_sm90.cuh 's/mbarrier_wait(ring.empty(stage), 1 - ring.parity(stage));//' "a stage refilled that is not given back"
try . attention_sm90 attention_sm90.cuh 's/1 - ring.parity(stage)/ring.parity(stage)/' "a barrier's other phase"
try + attention_sm90 attention_sm90.cuh 's/mbarrier_wait(ring.full(stage), ring.parity(stage));//' "a tile multiplied before it came"
try . attention_sm90 attention_sm90.cuh 's/end > first ? (end - first) \* BLOCK : 0/0/' "bytes that nobody waits for"
try . attention_sm90 attention_sm90.cuh 's/wgmma_fence();//' "a missing fence"
try . attention_sm90 attention_sm90.cuh 's/wgmma_sees();//' "copies that the tensor core does not see"
try . attention_sm90 attention_sm90.cuh 's/^\t\twgmma_sees();//' "barriers that bulk copies do not see"
try . attention_sm90 attention_sm90.cuh 's/^\tcopy_wait<0>();//' "zeros called there before they are"
try + attention_sm90 attention_sm90.cuh 's/t.wants(position) ? t.len - position : 0/16/' "a stale slot taken for a zero"
try . attention_sm90 attention_sm90.cuh 's/t.wants(i \* KV_BLOCK) ? t.table\[i\] : 0/t.table[i]/' "the table past its end"
try . attention_sm90 attention_sm90.cuh 's/- 1 <= w.high/- 2 <= w.high/' "a whole tile that is not"
try . attention_sm90 attention_sm90.cuh 's/position >= w.low/position + 1 >= w.low/' "a tile whole whose first key is before the window"
try . attention_sm90 attention.cuh 's/(see\[h\] - position) </(see[h] - position - 1) </' "a mask off by one"
try . attention_sm90 attention_sm90.cuh 's/in_unit < t.nr_rows);/true);/' "a write past the last row"
try . attention_sm90 attention_sm90.cuh 's/bool take = in_unit < t.nr_rows/bool take = true/' "a read past the last row"
try . attention_sm90 attention_sm90.cuh 's/ring.BLOCK, ring.EIGHT,$/ring.BLOCK, 2 * ring.EIGHT,/' "values of another block"
try . attention_sm90 attention_sm90.cuh 's/upper ? r\[i\] : r\[i + 2\]/upper ? r[i + 2] : r[i]/' "columns that another lane has"
try . attention_sm90 attention_sm90.cuh 's/^\tpdl_wait();//' "a kernel that does not wait"
try . attention_sm90 attention_sm90.cuh 's/attention_fold(all, r);/all = r;/' "a tile that is forgotten"
try . norm norm.cuh 's/p.late\[token - CUDA_LATE\]/p.late[0]/' "the token of another output"

# two steps under way
try + image/step image.c 's/m->next = !i;//;s/m->host\[i\].in_flight \&\&/0 \&\&/' "an image written while another step's is in it"
try . image/step image.c 's/m->host\[which\].in_flight = 0;/m->host[!which].in_flight = 0;/;s/m->next = !i;//' "an image that is said to have landed"
try + choose/step choose.c 's/assert(!f->in_flight).*//;s/(c->next + 1)/(c->next + 2)/;s/(c->oldest + 1)/(c->oldest + 2)/' "questions and answers of two steps in one place"
try . choose/step choose.c 's/&c->flight\[c->oldest\]/\&c->flight[!c->oldest]/' "a step's answers taken for another's"
try . choose/step choose.c 's/ret = device_wait_for(&ctx->device, f->done);/ret = 0;/' "answers that nobody waits for"
try . choose/step choose.c 's/r = device_wait(&ctx->device);/r = 0;/' "questions written over others in flight"
try . choose/step choose.c 's/at_token(ctx->limits.max_rows) + c->nr,/at_token(ctx->limits.max_rows),/' "each portion's tokens in the place of the first"

# before it has waited for the kernel before it
try + qkv/step qkv.cuh 's/pdl_wait();/uint32_t early = p.slot[blockIdx.x]; pdl_wait();/;s/slot = p.slot\[token\]/slot = early/' "a slot read before the wait"
try + gemm/step gemm.cuh 's/weights do not depend on the kernel before us/& *\/ if ((int)(blockIdx.x * WARPS * LAYOUT_ROWS) >= p.n) return; \/*/' "a CTA that does not wait"
try . gemm/step gemm.cuh 's/ring.load_weights(src, s);$/ring.load_weights(src, s), ring.load_tokens(p, first_token, s);/' "tokens copied before the wait"
try . norm/step norm.cuh 's/pdl_wait();/float early = s.at(0) < s.pairs ? ((float2 *)p.x)[s.at(0)].x : 0; pdl_wait(); s.x[0].x = early;/' "a row read before the wait"
try . attention/step attention.cuh 's/^\tpdl_wait();/\tif (p.work[blockIdx.x].seq < 0) return; pdl_wait();/' "a CTA without work that does not wait"
try . codes/step codes.cuh 's/^\tpdl_wait();//' "a kernel that does not wait"
try . attention attention.cuh 's/if (p.work\[blockIdx.x\].seq < 0)/if (0)/' "work that there is not"
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed = 0 ]]
