#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A slow test: llmd --backend cuda, on emulated kernels and a CUDA runtime that is the host,
# or on a GPU with the library LLM_CUDA_LIBRARY: who loads the library, what is said
# where no GPU can be had, and that no stream is lost where one fails or its engine is killed.
set -u
. "$(dirname "$0")/../system/lib.sh"
lib=${LLM_CUDA_LIBRARY:-$B/cuemu/libllm-cuda.so}
emulated=1 kills=1 streams=2
[[ -z ${LLM_CUDA_LIBRARY:-} ]] || emulated=0 kills=5 streams=16
model=tests/data/models/llama3-gqa-bf16
[[ -x $LLM && -x $B/llmd ]] || skip_all "no llmd in $B"
[[ -e $lib ]] || skip_all "not built: wants a C++ compiler and x86-64"
unset LLM_MODEL LLM_FAKE_CUDA
cuda=(--backend cuda --cuda-library "$lib" --model "$model" --threads 2)

# ids [OPTION...]: of 40 tokens that the service makes
ids() {
	ask run --socket "$SOCK" --ids "5 6 7 8 9 10 11" -n 40 --ignore-eos --format ids "$@"
	echo "$OUT"
}

# ---- it serves ----------------------------------------------------------
serve "${cuda[@]}" || { not_ok "llmd --backend cuda gets ready"; finish; }
ok "llmd --backend cuda gets ready"
greedy=$(ids --temperature 0)
hot=$(ids --temperature 1.2 --seed 7 --top-p 0.9)
is "40 tokens come" "$(wc -w <<<"$greedy")" 40
is "and again the same" "$(ids --temperature 0)" "$greedy"
if grep -q libllm-cuda "/proc/$PID/maps"; then
	not_ok "the keeper has not loaded the library"
else
	ok "the keeper has not loaded the library"
fi
like "the engine has" "$(cat "/proc/$(engine)/maps")" libllm-cuda

# streams of every kind at once, each as it was alone: rows of the next step are under way before it is known
# that one ended; penalties wait for each token
text=$(ask run --socket "$SOCK" --ids "5 6 7 8 9 10 11" -n 40 --ignore-eos --temperature 0; echo "$OUT")
stop=${text:20:3}
ways=("--temperature 0 --seed 1" "--temperature 0 --seed 1 -n 7" "--temperature 1.2 --seed 7 --top-p 0.9" "--temperature 0 --seed 1 --logprobs 2"
	"--temperature 0 --seed 1 --repetition-penalty 1.3" "--temperature 0.7 --seed 3 --frequency-penalty 0.4 -n 23")
way() { # I FORMAT
	# shellcheck disable=SC2086
	"$LLM" run --socket "$SOCK" --ids "5 6 7 8 9 10 11" -n 40 --ignore-eos --format "$2" ${ways[$1]}
}
stopped() {
	"$LLM" run --socket "$SOCK" --ids "5 6 7 8 9 10 11" -n 40 --ignore-eos --temperature 0 --stop "$stop" --format text
}
for i in "${!ways[@]}"; do way "$i" json >"$TMP/alone$i" 2>&1; done
for i in "${!ways[@]}"; do
	way "$i" json >"$TMP/way$i" 2>&1 &
	runs[i]=$!
done
stopped >"$TMP/stop" 2>&1 &
wait "${runs[@]}" $!
runs=()
for i in "${!ways[@]}"; do is "in company: ${ways[i]}" "$(<"$TMP/way$i")" "$(<"$TMP/alone$i")"; done
is "7 tokens are the first of 40" "$(way 1 ids)" "$(cut -d ' ' -f 1-7 <<<"$greedy")"
is "a stop string ends before it" "$(<"$TMP/stop")" "${text%%"$stop"*}"

# streams that are under way when their engine is killed
for ((k = 1; k <= kills; k++)); do
	before=$(engine)
	for ((i = 0; i < streams; i++)); do
		"$LLM" run --socket "$SOCK" --ids "5 6 7 8 9 10 11" -n 40 --ignore-eos --format ids --temperature 0 \
			>"$TMP/$i" 2>&1 &
		runs[i]=$!
	done
	sleep 0.1
	kill -KILL "$before"
	wait "${runs[@]}"
	lost=0
	for ((i = 0; i < streams; i++)); do
		[[ $(<"$TMP/$i") == "$greedy" ]] || lost=$((lost + 1))
	done
	is "kill $k: streams with other tokens" "$lost" 0
	is "kill $k: another engine serves" "$([[ $(engine) == "$before" ]] || echo yes)" yes
done
stop
is "it ends with 0" "$RC" 0

# F32 and BF16 choose alike here; where they must, test_backend.c says
serve --backend cpu --model "$model" --threads "$THREADS" || finish
is "the CPU has the same greedy tokens" "$(ids --temperature 0)" "$greedy"
stop

((emulated)) || finish

# ---- a GPU that fails ---------------------------------------------------
# each engine's does after as many pieces of work as are a few steps
export LLM_FAKE_CUDA='1 67108864 0 500'
serve "${cuda[@]}" || { not_ok "llmd gets ready on a GPU that will fail"; finish; }
is "greedy tokens outlive the engines" "$(ids --temperature 0)" "$greedy"
is "drawn tokens outlive the engines" "$(ids --temperature 1.2 --seed 7 --top-p 0.9)" "$hot"
like "the log says why" "$(<"$LOG")" 'GPU 0: an illegal memory access was encountered'
lives=$(grep -c 'illegal memory access' "$LOG")
if [[ $lives -ge 4 ]]; then ok "engines died meanwhile"; else not_ok "engines died meanwhile" "$lives"; fi
stop
is "llmd lives on, and ends with 0" "$RC" 0

# ---- no GPU -------------------------------------------------------------
# refused WHAT FAKE SAYS OPTION...: llmd ends with 1 and one line
refused() {
	local what=$1 fake=$2 says=$3
	shift 3
	OUT=$(LLM_FAKE_CUDA=$fake timeout 60 "$B/llmd" "${CARRIER[@]}" "$@" 2>&1)
	is "$what: exit 1" "$?" 1
	like "$what: said" "$OUT" "$says"
	is "$what: one line" "$(wc -l <<<"$OUT")" 1
}
refused "no driver" -1 'GPU 0: CUDA driver version is insufficient' "${cuda[@]}"
refused "no GPU" 0 'GPU 0: no CUDA-capable device' "${cuda[@]}"
refused "not this GPU" 2 'GPU 5: there are 2, counted from 0' "${cuda[@]}" --device 5
refused "a small GPU" '1 1000000' 'weights of .* leave nothing for KV of the .*GPU 0 \(Emulated GPU' "${cuda[@]}"
refused "gpu-memory that is not free" '1 67108864 50000000' 'gpu-memory is 0\.03 GiB, GPU 0 .* has 0\.02 GiB free of 0\.06' \
	"${cuda[@]}" --gpu-memory 0.5
refused "no library" 1 'none\.so: cannot open shared object' --backend cuda --cuda-library "$TMP/none.so" --model $model
finish
