#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test
# What is wrong gets one line and the right exit code, on both sides, and for
# everyone else nothing happens: a good stream runs beside all of it.
set -u
. "$(dirname "$0")/lib.sh"
[[ -x $B/llmd && -x $LLM ]] || skip_all "no llmd in $B"
need python3

# refused WHAT CODE WORDS COMMAND...: exit CODE, nothing on standard output,
# one line on standard error with WORDS (a regular expression) in it
refused() {
	local what=$1 code=$2 words=$3 rc n line
	shift 3
	timeout 30 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	rc=$?
	n=$(grep -c . "$TMP/err")
	line=$(<"$TMP/err")
	if [[ $rc = "$code" && $n = 1 && ! -s $TMP/out && $line =~ $words ]]; then
		ok "$what"
	else
		not_ok "$what" "exit $rc, wanted $code; $n lines, wanted 1 like: $words" "${line:0:300}"
	fi
}

# ---- llmd, before it serves ---------------------------------------------
llmd=$B/llmd
refused "llmd: no model" 2 model "$llmd" --socket "$TMP/x"
refused "llmd: unknown option" 2 '--modle' "$llmd" --modle x
refused "llmd: a model that is not there" 1 "$TMP/none" "$llmd" --model "$TMP/none" --socket "$TMP/x"
refused "llmd: a script as model" 1 test_bad_input "$llmd" --model "$0" --socket "$TMP/x"
refused "llmd: an unknown backend" 2 'backend' "$llmd" --backend abacus --socket "$TMP/x"
refused "llmd: 0 threads" 2 'threads' "$llmd" --backend null --threads 0 --socket "$TMP/x"
refused "llmd: -1 tokens a step" 2 'max-tokens-per-step' "$llmd" --backend null --max-tokens-per-step -1 --socket "$TMP/x"
refused "llmd: no room for one block of KV" 2 'kv-memory.*1' "$llmd" --backend null --kv-memory 1 --socket "$TMP/x"
refused "llmd: a socket in no directory" 1 "$TMP/no/such" "$llmd" --backend null --socket "$TMP/no/such/s"
refused "llmd: a socket path too long" 1 'socket|long' "$llmd" --backend null --socket "$TMP/$(printf '%0200d' 1)"

lies=$TMP/lies
# lie WHAT WORDS PYTHON: a copy of the model in which PYTHON changed config c
lie() {
	rm -rf "$lies" && cp -r "$model" "$lies"
	python3 -c 'import json, sys
p = sys.argv[1] + "/config.json"; c = json.load(open(p)); exec(sys.argv[2]); json.dump(c, open(p, "w"))' "$lies" "$3"
	refused "llmd: $1" 1 "$2" "$llmd" --model "$lies" --socket "$TMP/x"
}
if model=$(golden_model llama3-gqa-bf16); then
	for cut in 0 7 100 4000; do
		rm -rf "$lies" && cp -r "$model" "$lies"
		head -c $cut "$model/model.safetensors" >"$lies/model.safetensors"
		refused "llmd: safetensors cut at $cut" 1 'model.safetensors' "$llmd" --model "$lies" --socket "$TMP/x"
	done
	lie "heads that do not fit" 'config.json.*(num_attention_heads|num_key_value_heads|head)' 'c["num_attention_heads"] = 7'
	lie "no layers" 'config.json.*num_hidden_layers' 'c["num_hidden_layers"] = 0'
	lie "layers that are not there" 'layers' 'c["num_hidden_layers"] = 99'
	lie "2^40 heads" 'config.json.*num_attention_heads' 'c["num_attention_heads"] = 1 << 40'
	lie "a size as words" 'config.json.*hidden_size' 'c["hidden_size"] = "big"'
	lie "an unknown family" 'config.json.*(mystery|Mystery)' 'c["model_type"] = "mystery"; c["architectures"] = ["MysteryForCausalLM"]'
	rm -rf "$lies" && cp -r "$model" "$lies" && echo '{"a": ' >"$lies/config.json"
	refused "llmd: config.json cut" 1 'config.json' "$llmd" --model "$lies" --socket "$TMP/x"
	rm -rf "$lies" && cp -r "$model" "$lies" && echo '[]' >"$lies/tokenizer.json"
	refused "llmd: tokenizer.json of another form" 1 'tokenizer.json' "$llmd" --model "$lies" --socket "$TMP/x"
else
	skip "llmd: models that lie" "no golden models"
fi

# ---- the client, without a service --------------------------------------
refused "no command" 2 'command' "$LLM"
refused "an unknown command" 2 'frobnicate' "$LLM" frobnicate
refused "an unknown option" 2 '--frob' "$LLM" run --frob x
refused "an option without its value" 2 '-n' "$LLM" run x -n
refused "no prompt" 2 'prompt' "$LLM" run
refused "two prompts" 2 'prompt' "$LLM" run a b
refused "-n 0" 2 '-n: found "0"' "$LLM" run -n 0 x
refused "-n many" 2 '-n' "$LLM" run -n 99999999999 x
refused "temperature nan" 2 'temperature.*nan' "$LLM" run --temperature nan x
refused "temperature -1" 2 'temperature.*-1' "$LLM" run --temperature -1 x
refused "top-p 2" 2 'top-p.*2' "$LLM" run --top-p 2 x
refused "top-p 0" 2 'top-p.*0' "$LLM" run --top-p 0 x
refused "min-p inf" 2 'min-p.*inf' "$LLM" run --min-p inf x
refused "an unknown class" 2 'class.*royal' "$LLM" run --class royal x
refused "an unknown format" 2 'format.*xml' "$LLM" run --format xml x
refused "a negative id" 2 'ids.*-1' "$LLM" run --ids "-1"
refused "ids that are words" 2 'ids.*five' "$LLM" run --ids "5 five"
refused "an id over 32 bits" 2 'ids.*4294967296' "$LLM" run --ids "4294967296"
refused "no ids" 2 'ids' "$LLM" run --ids ""
refused "ids and a prompt" 2 'ids' "$LLM" run --ids "5" x
refused "an empty prompt" 2 'empty' "$LLM" run ""
refused "no daemon" 4 "$TMP/none" "$LLM" run --socket "$TMP/none" hi
for c in ps info ping; do
	refused "$c: no daemon" 4 "$TMP/none" "$LLM" $c --socket "$TMP/none"
done
refused "score: no daemon" 4 "$TMP/none" "$LLM" score --socket "$TMP/none" --ids "5 6"
refused "a socket with nobody behind" 4 . "$LLM" ping --socket "$0"
refused "tokenize: neither a model nor a daemon" 4 'no llmd' env -u LLM_MODEL "$LLM" tokenize --socket "$TMP/none" x
refused "tokenize: a model that is not there" 1 "$TMP/none" "$LLM" tokenize --model "$TMP/none" x
refused "detokenize: an id out of range" 1 '999999' "$LLM" detokenize --model tests/data/tokenizers/bpe-llama3 999999

# a socket that is not for this user
mkdir -p "$TMP/locked"
if [[ $(id -u) = 0 ]] && command -v setpriv >/dev/null; then
	who=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	chmod 711 "$TMP" && chmod 700 "$TMP/locked"
	cp "$LLM" "$TMP/llm"
	refused "not permitted" 3 'locked' "${who[@]}" "$TMP/llm" ping --socket "$TMP/locked/s"
else
	chmod 000 "$TMP/locked"
	refused "not permitted" 3 'locked' "$LLM" ping --socket "$TMP/locked/s"
	chmod 700 "$TMP/locked"
fi

# ---- with a service: who asks badly hurts nobody ------------------------
args=(--backend null)
[[ -n ${model:-} ]] && args=(--model "$model" --threads 2)
serve "${args[@]}" || { not_ok "llmd starts" && finish; }
vocab=$("$LLM" info --socket "$SOCK" --format json | python3 -c 'import json,sys
print(json.load(sys.stdin)["model"]["vocab"])')
context=$("$LLM" info --socket "$SOCK" --format json | python3 -c 'import json,sys
print(json.load(sys.stdin)["model"]["context"])')
good=(run --socket "$SOCK" --format ids --ids "5 6 7" -n 64 --ignore-eos --temperature 0.7 --seed 3)
want=$("$LLM" "${good[@]}")
is "a good request before" "$(wc -w <<<"$want")" 64
(while [[ ! -e $TMP/enough ]]; do
	[[ $("$LLM" "${good[@]}") == "$want" ]] && echo same || echo other
	sleep 0.05
done) >"$TMP/beside" &
beside=$!

many=$(python3 -c 'import sys; print(" ".join(["5"] * int(sys.argv[1])))' "$context")
R=("$LLM" run --socket "$SOCK")
refused "an id out of the vocabulary" 1 "$vocab|$((vocab - 1))" "${R[@]}" --ids "5 $vocab" -n 3
refused "an id of 2^32-1" 1 'vocab|allowed' "${R[@]}" --ids "4294967295" -n 3
refused "a prompt that fills the context" 1 "$context" "${R[@]}" --ids "$many" -n 3
refused "prompt plus -n over the context, with both numbers" 1 "$context" "${R[@]}" --ids "5 6" -n "$context"
refused "21 alternatives" 2 'logprobs' "${R[@]}" --ids 5 --logprobs 21
refused "a stop string of 300 bytes" 1 'stop' "${R[@]}" --ids 5 --stop "$(printf '%0300d' 1)"
refused "an empty stop string" 1 'stop' "${R[@]}" --ids 5 --stop ""
seventeen=()
for ((i = 0; i < 17; i++)); do seventeen+=(--stop "s$i"); done
refused "17 stop strings" 1 'stop' "${R[@]}" --ids 5 "${seventeen[@]}"
refused "score: an id out of the vocabulary" 1 'vocab|allowed' "$LLM" score --socket "$SOCK" --ids "5 $vocab"
refused "score: one id" 2 'ids' "$LLM" score --socket "$SOCK" --ids "5"
refused "score: no such file" 1 'none' "$LLM" score --socket "$SOCK" "$TMP/none"
refused "standard output that is full" 1 'output' bash -c '"$@" >/dev/full' - "${R[@]}" --ids "5 6" -n 3 --ignore-eos --format ids
refused "a second daemon" 1 "$SOCK" "$llmd" "${args[@]}" --socket "$SOCK"

# what is no client at all: bytes, silence, a cut hello
for junk in '' 'GET / HTTP/1.1\r\n\r\n' '\x58\x00\x00\x00llm0' "$(printf 'x%.0s' {1..500})"; do
	printf "%b" "$junk" | timeout 5 python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read())' "$SOCK"
done
touch "$TMP/enough"
wait $beside
is "beside all of it a good request stayed the same" "$(sort -u "$TMP/beside")" same
is "... and the engine never died" "$("$LLM" info --socket "$SOCK" --format json | python3 -c 'import json,sys
print(json.load(sys.stdin)["restarts"])')" 0
is "a good request after" "$("$LLM" "${good[@]}")" "$want"
is "no session is left" "$("$LLM" ps --socket "$SOCK" | wc -l)" 1
kill -KILL "$(engine)"
is "a killed engine: the next one answers the same" "$("$LLM" "${good[@]}")" "$want"
stop
is "llmd ends with 0" "$RC" 0
[[ -e $SOCK ]] && not_ok "its socket is gone" "$SOCK is there" || ok "its socket is gone"
finish
