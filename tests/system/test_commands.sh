#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test
# What a person types: every command and option of llm, against the model that
# ships, and what comes back: standard output, exit code, one line of error.
set -u
. "$(dirname "$0")/lib.sh"
[[ -x $B/llmd && -x $LLM ]] || skip_all "no llmd in $B"
# what is cut short by hand, and may take its time on an emulated processor
many=1000
slow && many=150

# ---- offline ------------------------------------------------------------
tok=tests/data/tokenizers/bpe-llama3
OUT=$(<$tok/vectors.json)
hello=$(field hello_with_special | tr -d '[],')
ask tokenize --model $tok "Hello"
is "tokenize adds BOS as transformers does" "$OUT" "$hello"
ask tokenize --model $tok/tokenizer.json --no-bos "Hello"
is "tokenize --no-bos" "$OUT" "${hello#* }"
ids=$OUT
ask detokenize --model $tok "$ids"
is "detokenize gives the text back" "$OUT" "Hello"
# shellcheck disable=SC2086	# many operands are meant
ask detokenize --model $tok $ids
is "detokenize takes ids one by one" "$OUT" "Hello"
OUT=$(printf 'na\xc3\xafve caf\xc3\xa9' | "$LLM" tokenize --model $tok --no-bos -)
OUT=$(echo "$OUT" | "$LLM" detokenize --model $tok -)
is "tokenize and detokenize read standard input" "$OUT" "naïve café"
ask --help
is "llm --help" "$RC" 0
for c in run score tokenize detokenize show plan quantize ps info ping; do
	like "llm --help names $c" "$OUT" "$c"
done
ask run --help
is "llm run --help" "$RC" 0
for o in -n --temperature --top-k --top-p --min-p --seed --stop --ignore-eos \
	--logprobs --class --chat --special --format --ids --socket --deadline; do
	[[ $OUT == *" $o "* ]] || not_ok "llm run --help tells of $o"
done
ask --version
like "llm --version" "$OUT" '^llm [0-9]+\.[0-9]+\.[0-9]+$'

# ---- the model that ships -----------------------------------------------
model=$(shipped_model) || skip_all "no model with a tokenizer"
# at a device a stream that is not finished by the end waits for another daemon
serve --model "$model" --threads $THREADS --drain-timeout $((10 * ${LLM_SLOW:-1})) || { not_ok "llmd starts" && finish; }
run() { ask run --socket "$SOCK" "$@"; }
json() { run --format json "$@"; }

run --chat "what does tar do?"
like "--chat: what tar does" "$OUT" 'tar - .*archiv'
run --chat "man ls"
like "--chat: man ls" "$OUT" 'ls - list directory contents'
chat=$OUT
is "run ends with 0" "$RC" 0
is "run says nothing on standard error" "$ERR" ""
OUT=$(printf 'man ls' | "$LLM" run --socket "$SOCK" --chat -)
is "- reads the prompt from standard input" "$OUT" "$chat"
OUT=$(LLM_SOCKET=$SOCK "$LLM" run --chat "man ls")
is "LLM_SOCKET names the service" "$OUT" "$chat"
mkdir "$TMP/run" && ln -s "$SOCK" "$TMP/run/llmd.sock"
OUT=$(env -u LLM_SOCKET XDG_RUNTIME_DIR="$TMP/run" "$LLM" run --chat "man ls")
is "then the runtime directory" "$OUT" "$chat"

json --chat "man ls"
is "json: one line" "$(wc -l <<<"$OUT")" 1
is "json: text" "$(field text)" "$chat"
is "json: finish" "$(field finish)" stop
list=$(field ids | tr -d '[],')
is "json: completion_tokens counts ids" "$(field usage.completion_tokens)" "$(wc -w <<<"$list")"
run --chat --format ids "man ls"
is "--format ids" "$OUT" "$list"
# special tokens show nothing, and the end token is one
ask detokenize --model "$model" --no-special "$list"
is "the ids are those of the text" "$OUT" "$chat"

prompt="the <|user|> file"
json -n 4 "$prompt"
is "special tokens in a prompt are text" "$(field usage.prompt_tokens)" \
	"$("$LLM" tokenize --model "$model" --no-special "$prompt" | wc -w)"
json -n 4 --special "$prompt"
is "--special parses them" "$(field usage.prompt_tokens)" \
	"$("$LLM" tokenize --model "$model" "$prompt" | wc -w)"
json --ids "5 6 7" -n 9 --ignore-eos
is "--ids are fed as they stand" "$(field usage.prompt_tokens)" 3
is "-n is exact with --ignore-eos" "$(field ids | wc -w)" 9
is "-n ends with length" "$(field finish)" length
json --ids "5 6 7" --ignore-eos
is "without -n: max_new_tokens of the model" "$(field usage.completion_tokens)" 256

# ---- sampling -----------------------------------------------------------
json --ids "10 20 30" -n 24 --ignore-eos --temperature 0
greedy=$(field ids)
for o in "--top-k 1" "--top-p 0.00001" "--min-p 1"; do
	# shellcheck disable=SC2086
	json --ids "10 20 30" -n 24 --ignore-eos --temperature 1 --seed 3 $o
	is "$o is greedy" "$(field ids)" "$greedy"
done
hot=(--ids "10 20 30" -n 24 --ignore-eos --temperature 1.5)
json "${hot[@]}" --seed 7
one=$(field ids)
json "${hot[@]}" --seed 7
is "the same seed, the same tokens" "$(field ids)" "$one"
json "${hot[@]}" --seed 8
if [[ $(field ids) != "$one" ]]; then ok "another seed, others"; else not_ok "another seed, others" "$one"; fi
json "${hot[@]}"
seed=$(field seed) one=$(field ids)
json "${hot[@]}" --seed "$seed"
is "the seed that was drawn is told, and gives them again" "$(field ids)" "$one"
json "${hot[@]}" --seed 18446744073709551615
is "the largest seed is told as it was given" "$(field seed)" 18446744073709551615
for c in interactive batch idle; do
	json --ids "10 20 30" -n 24 --ignore-eos --temperature 0 --class $c
	is "--class $c changes no token" "$(field ids)" "$greedy"
done
json --ids "10 20 30" -n 24 --ignore-eos --temperature 0 --logprobs 3
is "--logprobs changes no token" "$(field ids)" "$greedy"
for ((i = 0; i < 24; i++)); do
	l=logprobs.$i
	field ids.$i $l.id $l.logprob $l.top.{0,1,2}.id $l.top.{0,1,2}.logprob
done >"$TMP/logprobs"
is "--logprobs: of each token, and the likeliest in order" "$(awk '
	$1 == $2 && $1 == $4 && $3 == $7 && $3 <= 0 && $7 >= $8 && $8 >= $9 &&
	$4 != $5 && $5 != $6 && $4 != $6 { n++ } END { print n }' "$TMP/logprobs")" 24
OUT=$(field logprobs.23)
field top.3 >/dev/null 2>&1
is "--logprobs 3: no more than three" "$?" 1

# a stop string that begins in one token and ends in another
json --chat "man ls"
stop=$(field text)
read -r stop <<<"${stop:${#stop}/2-3:7}"
json --chat "man ls" --stop "no such words" --stop "$stop"
is "--stop: text up to it, whatever the tokens" "$(field text)" "${chat%%"$stop"*}"
is "--stop: finish" "$(field finish)" stop

# ---- score --------------------------------------------------------------
ask score --socket "$SOCK" --ids "5 6 7 8"
like "score" "$OUT" '^tokens 3 nll [0-9.]+ ppl [0-9.]+$'
cold=$OUT
ask score --socket "$SOCK" --ids "5 6 7 8"
is "score again: the same to the last digit" "$OUT" "$cold"
echo "list directory contents" >"$TMP/text"
ask score --socket "$SOCK" "$TMP/text"
like "score FILE" "$OUT" '^tokens [0-9]+ nll [0-9.]+ ppl [0-9.]+$'
is "ppl is exp(nll/tokens)" "$(awk '{ r = exp($4 / $2) / $6; print (r > 0.999999 && r < 1.000001) }' <<<"$OUT")" 1

# ---- looking at it ------------------------------------------------------
ask ping --socket "$SOCK"
like "ping" "$OUT" '^.+ answers in [0-9.]+ ms$'
ask info --socket "$SOCK"
like "info: state" "$OUT" 'state +"ready"'
ask info --socket "$SOCK" --format json
is "info: vocabulary" "$(field model.vocab)" 4096
if device; then # it counts all daemons; the counters are llmctl's
	like "info: epoch" "$(field epoch)" '^[1-9][0-9]*$'
else
	is "info: epoch" "$(field epoch)" 1
	is "info: nothing runs" "$(field running)" 0
fi
for _ in {1..100}; do # the kernel's sessions end a moment after their close
	ask ps --socket "$SOCK"
	[[ $(wc -l <<<"$OUT") = 1 ]] && break
	sleep 0.05
done
is "ps: nobody there" "$(wc -l <<<"$OUT")" 1

# ---- ends from outside --------------------------------------------------
# long: a run of many tokens, its engine stopped (SIGSTOP) in the middle; the
# client's pid in KID, the engine's in ENGINE
long() {
	# what a script starts in the background ignores SIGINT: not here
	env --default-signal=INT "$LLM" run --socket "$SOCK" --format json --ids "5 6 7" -n "$many" --ignore-eos \
		>"$TMP/long" 2>"$TMP/long.err" &
	KID=$!
	local i
	for ((i = 0; i < 200; i++)); do
		ask ps --socket "$SOCK" --format json
		if [[ $OUT == *'"running":1'* ]]; then
			ENGINE=$(engine)
			kill -STOP "$ENGINE"
			ask ps --socket "$SOCK" --format json
			[[ $OUT == *'"running":1'* ]] && return 0
			kill -CONT "$ENGINE"
			break
		fi
		sleep 0.02
	done
	return 1
}
# on a busy machine the stream may be at its end before it is stopped: again
caught=0 finish='' rc=0 who=''
for ((try = 0; try < 8; try++)); do
	long || continue
	caught=1
	who=$(field 0.pid)
	kill -INT "$KID"
	sleep 0.1
	kill -CONT "$ENGINE"
	wait "$KID"
	rc=$?
	OUT=$(<"$TMP/long")
	finish=$(field finish)
	[[ $finish = cancelled ]] && break
done
if [[ $caught = 1 ]]; then
	is "ps: the session's process" "$who" "$KID"
	is "SIGINT: the client ends of it" "$rc" 130
	is "SIGINT cancels" "$finish" cancelled
else
	skip "SIGINT cancels" "the model is too fast to be caught"
fi
json --ids "5 6 7" -n 1000 --ignore-eos --deadline 30
is "--deadline ends it" "$(field finish)" deadline
is "--deadline: what came is kept" "$(field ids | wc -w)" "$(field usage.completion_tokens)"

"$B/llmd" --model "$model" "${CARRIER[@]}" >"$TMP/second" 2>&1 </dev/null
is "a second daemon fails" "$(($? > 0))" 1
is "... in one line" "$(wc -l <"$TMP/second")" 1
json --chat "man ls"
is "... and the first one serves on" "$(field text)" "$chat"

if long; then
	(sleep 0.3 && kill -CONT "$ENGINE") &
	stop
	is "SIGTERM drains and exits 0" "$RC" 0
	wait "$KID"
	is "SIGTERM: the client ends with 0" "$?" 0
	OUT=$(<"$TMP/long")
	is "SIGTERM: its stream was finished" "$(field usage.completion_tokens)" "$many"
else
	stop
	is "SIGTERM exits 0" "$RC" 0
	skip "SIGTERM drains" "the model is too fast to be caught"
fi
ask run --socket "$SOCK" "hi"
is "no daemon: exit 4" "$RC" 4
is "no daemon: one line" "$(wc -l <"$TMP/err")" 1
finish
