#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# llm and the examples as a user calls them: options, formats, exit codes, one
# line for what is wrong.  What needs no daemon first, then llmd with the null
# backend, then with the small model where it is.
set -u
cd "$(dirname "$0")/../.." || exit 2
b=${LLM_BUILD:-build}
llm=$b/llm
t=$(mktemp -d)
passed=0 failed=0 skipped=0 daemon=
cleanup() {
	[[ -n $daemon ]] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
	rm -rf "$t"
}
trap cleanup EXIT
unset LLM_SOCKET LLM_MODEL
export XDG_RUNTIME_DIR=$t/none

ok() { echo "ok $1"; passed=$((passed + 1)); }
not_ok() { # NAME WHY
	echo "# $2"
	echo "not ok $1"
	failed=$((failed + 1))
}
# judge STATUS NAME WHY
judge() {
	if [[ $1 = 0 ]]; then ok "$2"; else not_ok "$2" "$3"; fi
}
skip() { echo "ok $1 # SKIP $2"; skipped=$((skipped + 1)); }
# run COMMAND...: its output in $out, errors in $err, exit code in $rc
run() {
	timeout 60 "$@" >"$t/out" 2>"$t/err" </dev/null
	rc=$?
	out=$(tr -d '\0' <"$t/out") err=$(cat "$t/err")
}
# refused NAME RC PART COMMAND...: exit RC, nothing on stdout, one line on
# stderr that begins with "llm: " and contains PART
refused() {
	local name=$1 want=$2 part=$3
	shift 3
	run "$@"
	if [[ $rc = "$want" && $(wc -l <"$t/err") = 1 && $err = "llm: "* && $err = *"$part"* ]]; then
		ok "$name"
	else
		not_ok "$name" "exit $rc, not $want; said: $err"
	fi
}
# says NAME WANT COMMAND...: exit 0 and exactly WANT on stdout
says() {
	local name=$1 want=$2
	shift 2
	run "$@"
	if [[ $rc = 0 && $out = "$want" ]]; then
		ok "$name"
	else
		not_ok "$name" "exit $rc, printed: ${out:0:200} (not ${want:0:200}); said: $err"
	fi
}
# json NAME EXPRESSION COMMAND...: one line of JSON, j, for which it holds
json() {
	local name=$1 what=$2
	shift 2
	run "$@"
	if [[ $rc = 0 && $(wc -l <"$t/out") = 1 ]] && python3 -c '
import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$t/out" "$what"; then
		ok "$name"
	else
		not_ok "$name" "exit $rc; not so: $what; printed: ${out:0:300}; said: $err"
	fi
}
serve() { # ARGS...
	"$b/llmd" --socket "$t/s" "$@" >"$t/log" 2>&1 &
	daemon=$!
	local i
	for ((i = 0; i < 300; i++)); do
		"$llm" ping --socket "$t/s" >/dev/null 2>&1 && return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.1
	done
	sed 's/^/# llmd: /' "$t/log"
	return 1
}
stop() {
	kill "$daemon"
	wait "$daemon"
	daemon=
}

# ---- usage: no daemon
refused "no command is a usage error" 2 "llm --help" "$llm"
refused "an unknown command is named" 2 "frobnicate" "$llm" frobnicate
refused "an unknown option is named" 2 "--modle" "$llm" run --modle x hi
refused "no prompt" 2 "allowed one" "$llm" run
refused "two prompts" 2 "found 2" "$llm" run a b
refused "an empty prompt" 2 "empty" "$llm" run ""
refused "empty ids" 2 "--ids" "$llm" run --ids ""
refused "a negative id" 2 '"-1"' "$llm" run --ids "-1" -n 3
refused "an id with junk" 2 '"7x' "$llm" run --ids "5 7x"
refused "ids and a prompt" 2 "give one" "$llm" run --ids 5 hi
refused "ids and --chat" 2 "--chat" "$llm" run --ids 5 --chat
refused "temperature nan" 2 "0 to 100" "$llm" run --temperature nan hi
refused "temperature inf" 2 "0 to 100" "$llm" run --temperature inf hi
refused "temperature with junk" 2 "0 to 100" "$llm" run --temperature 1x hi
refused "temperature empty" 2 "0 to 100" "$llm" run --temperature "" hi
refused "top-p over 1" 2 "to 1" "$llm" run --top-p 2 hi
refused "top-p of 0" 2 "to 1" "$llm" run --top-p 0 hi
refused "min-p under 0" 2 "0 to 1" "$llm" run --min-p -0.1 hi
refused "n of 0" 2 "1 to" "$llm" run -n 0 hi
refused "n past 64 bits" 2 "1 to" "$llm" run -n 99999999999999999999 hi
refused "a negative seed" 2 "0 to" "$llm" run --seed -1 hi
refused "21 logprobs" 2 "0 to 20" "$llm" run --format json --logprobs 21 hi
refused "logprobs have no place in text" 2 "json" "$llm" run --logprobs 1 hi
refused "an unknown class" 2 "interactive, batch, idle" "$llm" run --class fast hi
refused "an unknown format" 2 "text, ids, json" "$llm" run --format xml hi
refused "an option without its value" 2 "--stop" "$llm" run hi --stop
refused "score of one id" 2 "2 or more" "$llm" score --ids 5
refused "score of a missing file" 1 "No such file" "$llm" score "$t/none"
refused "tokenize without model or service" 4 "no llmd" "$llm" tokenize hi
refused "detokenize without a model" 2 "--model" "$llm" detokenize 5
refused "a model that is not there" 1 "$t/none" "$llm" tokenize --model "$t/none" hi
refused "no daemon" 4 "$t/none" "$llm" run --socket "$t/none" hi
refused "no daemon to ping" 4 "$t/none" "$llm" ping --socket "$t/none"
refused "no daemon for ps" 4 "$t/none" "$llm" ps --socket "$t/none"
LLM_SOCKET=$t/env refused "LLM_SOCKET names the service" 4 "$t/env" "$llm" info
refused "the system path is the last" 4 "/run/llmd/llmd.sock" "$llm" info
for c in "" run score tokenize detokenize ps info ping; do
	# shellcheck disable=SC2086
	run "$llm" $c --help
	if [[ $rc = 0 && -z $err && $out = usage:* ]]; then
		ok "llm $c --help"
	else
		not_ok "llm $c --help" "exit $rc: $err"
	fi
done

# ---- offline: a tokenizer that the tree ships
tok=$(find tests/data/tokenizers -name tokenizer.json 2>/dev/null | sort | head -n 1)
if [[ -n $tok ]]; then
	run "$llm" tokenize --model "$tok" --no-bos "Hello, wörld: 42 cats"
	ids=$out
	# shellcheck disable=SC2086
	says "detokenize undoes tokenize" "Hello, wörld: 42 cats" "$llm" detokenize --model "$tok" $ids
	LLM_MODEL=$tok says "LLM_MODEL is the default model" "$ids" \
		"$llm" tokenize --no-bos -- "Hello, wörld: 42 cats"
	refused "an id past the vocabulary" 1 "4000000000" "$llm" detokenize --model "$tok" 4000000000
	says "options stand after the text too" "$ids" \
		"$llm" tokenize "Hello, wörld: 42 cats" --no-bos --model "$tok"
else
	skip "tokenize and detokenize" "no tokenizer in tests/data"
fi

# ---- llmd, null backend
if [[ ! -x $b/llmd ]]; then
	skip "llm against llmd" "no llmd in this build"
elif ! command -v python3 >/dev/null; then
	skip "llm against llmd" "no python3 here; make check installs it"
elif ! serve --backend null; then
	not_ok "llmd serves the null backend" "see above"
else
	s="--socket $t/s"
	# shellcheck disable=SC2086
	{
	json "json has ids, text, finish, usage" \
		'len(j["ids"]) == 12 and j["finish"] == "length" and j["text"] and j["usage"] == {"prompt_tokens": 3, "cached_tokens": 0, "completion_tokens": 12}' \
		"$llm" run $s --format json --ids "5 6 7" -n 12 --seed 1
	one=$out
	says "the same seed, the same object" "$one" "$llm" run $s --format json --ids "5 6 7" -n 12 --seed 1
	run "$llm" run $s --format ids --ids "5,6,7" -n 12 --seed 1
	[[ $out = "$(python3 -c 'import json,sys; print(*json.loads(sys.argv[1])["ids"])' "$one")" ]]
	judge $? "ids are those of the object" "$out"
	run "$llm" run $s --format text --ids "5 6 7" -n 12 --seed 1
	[[ $out = "$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["text"])' "$one")" ]]
	judge $? "text is that of the object" "$out"
	json "logprobs come with alternatives" \
		'len(j["logprobs"]) == 5 and all(x["id"] == i and x["logprob"] <= 0 and len(x["top"]) == 3 for x, i in zip(j["logprobs"], j["ids"]))' \
		"$llm" run $s --format json --logprobs 3 --ids "5" -n 5
	json "logprobs 0 is the token's own" \
		'len(j["logprobs"]) == 5 and not j["logprobs"][0]["top"]' \
		"$llm" run $s --format json --logprobs 0 --ids "5" -n 5
	run bash -c "printf 'from a pipe' | $llm run $s --format json -n 3 -"
	[[ $rc = 0 && $out = *'"prompt_tokens":11'* ]]
	judge $? "- reads standard input" "exit $rc: $out$err"
	refused "nothing on standard input" 2 "empty" "$llm" run $s -
	json "a prompt with a dash stands behind --" 'j["usage"]["prompt_tokens"] == 3' \
		"$llm" run $s --format json -n 3 -- -hi
	refused "an id out of the vocabulary" 1 "999999" "$llm" run $s --ids "5 999999" -n 3
	refused "a prompt over the context" 1 "context" "$llm" run $s --ids "$(yes 5 | head -n 40000 | tr '\n' ' ')" -n 3
	refused "prompt and -n over the context" 1 "40000" "$llm" run $s --ids "5" -n 39999
	refused "chat without a template" 1 "chat" "$llm" run $s --chat hi
	json "a deadline ends it and keeps what came" 'j["finish"] == "deadline"' \
		"$llm" run $s --format json --deadline 1 --class idle -n 30000 --ignore-eos --ids 5
	says "score adds up" "tokens 3 nll" bash -c "$llm score $s --ids '1 2 3 4' | cut -d' ' -f1-3"
	run bash -c "seq 1 40000 | $llm score $s --ids -"
	[[ $rc = 0 && $out = "tokens 39999 nll "* ]]
	judge $? "ids over the context are scored in windows" "exit $rc: $out$err"
	run "$llm" ping $s
	[[ $rc = 0 && $out = "null answers in "* ]]
	judge $? "ping" "exit $rc: $out$err"
	json "info" 'j["state"] == "ready" and j["model"]["name"] == "null"' "$llm" info $s --format json
	run "$llm" run $s -n 5 hi
	run bash -c "$llm run $s -n 5 hi >/dev/full"
	[[ $rc = 1 && $err = *"No space"* ]]
	judge $? "a full disk is told" "exit $rc: $err"

	# a reader that goes away ends it quietly; Ctrl-C prints what came
	run bash -c "$llm run $s -n 30000 --ignore-eos hi | head -c 5 >/dev/null; exit \${PIPESTATUS[0]}"
	[[ $rc != 0 && -z $err ]]
	judge $? "a reader that went away is no reason to shout" "exit $rc: $err"
	json "ps shows a session that is open" 'len(j) >= 1 and j[0]["pid"] > 0' \
		bash -c "$llm run $s -n 30000 --ignore-eos hi | { read -rn 3 _; $llm ps $s --format json; }"

	export LLM_SOCKET=$t/s
	run "$b/examples/blocking" "hello"
	[[ $rc = 0 && $out = *"[length after 64 tokens, "*"5 prompt tokens cached]" ]]
	judge $? "examples/blocking" "exit $rc: ${out: -80} $err"
	run "$b/examples/poll" one two three
	[[ $rc = 0 && $(grep -c '\[\(length\|stop\)\]' "$t/out") = 3 ]]
	judge $? "examples/poll" "exit $rc: ${out: -80} $err"
	if [[ -x $b/examples/uring ]]; then
		run "$b/examples/uring" "hello"
		want=$("$llm" info --format json | python3 -c 'import json,sys; print(json.load(sys.stdin)["tokens_out"])')
		if [[ $err = "no io_uring here" ]]; then
			skip "examples/uring" "io_uring is refused here"
		elif [[ $rc = 0 && ${#out} -gt 100 && $want -gt 256 ]]; then
			ok "examples/uring"
		else
			not_ok "examples/uring" "exit $rc: ${out: -80} $err"
		fi
	else
		skip "examples/uring" "no liburing"
	fi
	unset LLM_SOCKET
	if [[ $EUID = 0 ]]; then
		chmod 700 "$t"
		run setpriv --reuid 65534 --clear-groups "$llm" ping $s
		[[ $rc = 3 && $err = *"ermission denied"* ]]
	judge $? "another user's socket is exit 3" "exit $rc: $err"
	else
		skip "another user's socket is exit 3" "needs root"
	fi
	}
	stop
	[[ ! -e $t/s ]]
	judge $? "the socket goes with llmd" "still there"
	# shellcheck disable=SC2086
	refused "a service that ended is no daemon" 4 "$t/s" "$llm" ping $s
fi
# ---- llmd, a model with a tokenizer: what offline and service must agree on
model=$(find models -maxdepth 2 -name tokenizer.json -printf '%h\n' 2>/dev/null | sort | head -n 1)
[[ -n $model ]] || model=${LLM_GOLDEN:-../shared/data}/trial-model
if [[ ! -x $b/llmd || ! -e $model/tokenizer.json ]]; then
	skip "llm against a model" "no llmd, or no model in models/ or LLM_GOLDEN"
elif ! command -v python3 >/dev/null; then
	skip "llm against a model" "no python3 here; make check installs it"
elif ! serve --model "$model"; then
	not_ok "llmd serves $model" "see above"
else
	s="--socket $t/s"
	context=$("$llm" info --socket "$t/s" --format json |
		python3 -c 'import json,sys; print(json.load(sys.stdin)["model"]["context"])')
	# shellcheck disable=SC2086
	{
	for ((i = 0; i < 30; i++)); do echo "The $i-th file is listed by the command ls."; done >"$t/short"
	for ((i = 0; i < context; i++)); do echo "The $i-th line."; done >"$t/long"
	run "$llm" score $s --model "$model" "$t/short"
	here=$out
	says "score: the service makes the ids that the files make" "$here" "$llm" score $s "$t/short"
	says "score reads standard input" "$here" bash -c "$llm score $s - <$t/short"
	n=$("$llm" tokenize --model "$model" --no-special - <"$t/long" | wc -w)
	run "$llm" score $s --model "$model" "$t/long"
	[[ $rc = 0 && $out = "tokens $((n - 1)) nll "* && $n -gt $context ]]
	judge $? "score: a text over the context, all but the first predicted" "exit $rc: $out $err, $n ids"
	refused "score: a text over the context without --model" 1 "$context" "$llm" score $s "$t/long"
	n=$("$llm" tokenize --model "$model" --no-special 'How do I list files?' | wc -w)
	json "a prompt's ids are tokenize's" "j['usage']['prompt_tokens'] == $n" \
		"$llm" run $s --format json -n 1 "How do I list files?"
	odd='<|endoftext|> Wörld <s>	42'
	for o in "" --no-special --no-bos "--no-special --no-bos"; do
		run "$llm" tokenize --model "$model" $o "$odd"
		says "tokenize $o: the service makes the ids that the files make" "$out" \
			"$llm" tokenize $s $o "$odd"
	done
	run "$llm" run $s -n 60 --temperature 0 --ignore-eos --format json "The manual"
	cp "$t/out" "$t/whole"
	stop=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["text"].split()[4])' "$t/whole")
	json "a stop string ends it and is not shown" \
		"j['finish'] == 'stop' and (lambda w, s: j['text'] == w[:w.index(s)])(json.load(open('$t/whole'))['text'], '''$stop''')" \
		"$llm" run $s -n 60 --temperature 0 --ignore-eos --format json \
		--stop "never to be seen" --stop "$stop" "The manual"
	# what happens while tokens come: the engine is stopped to hold the moment
	cat >"$t/moment.py" <<-'PY'
		import os, signal, subprocess, sys, time
		what, engine, keeper, cmd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
		p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
		                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
		first = p.stdout.read(1)
		os.kill(engine, signal.SIGSTOP)
		if what == "interrupt":
		    p.send_signal(signal.SIGINT)
		    time.sleep(0.2)
		    waits = p.poll() is None  # for the end, which the engine tells
		    os.kill(engine, signal.SIGCONT)
		if what == "twice":
		    p.send_signal(signal.SIGINT)
		    time.sleep(0.2)
		    p.send_signal(signal.SIGINT)
		    p.wait(5)
		    os.kill(engine, signal.SIGCONT)
		    waits = True
		if what == "kill":
		    os.kill(keeper, signal.SIGKILL)
		    os.kill(engine, signal.SIGKILL)
		    waits = True
		out, err = p.communicate(timeout=20)
		print(p.returncode, waits, 1 <= len((first + out).split()) < 900, err.strip())
	PY
	engine=$(pgrep -P "$daemon" | head -n 1)
	cmd="$llm run $s -n 900 --ignore-eos --format ids The"
	says "an interrupt ends the stream, then the program" "-2 True True " \
		python3 "$t/moment.py" interrupt "$engine" "$daemon" $cmd
	says "a second interrupt ends it at once" "-2 True True " \
		python3 "$t/moment.py" twice "$engine" "$daemon" $cmd
	says "a service that goes away is exit 4, what came is printed" "4 True True llm: the service is gone" \
		python3 "$t/moment.py" kill "$engine" "$daemon" $cmd
	}
	# the service went with the last check, or that failed
	kill -KILL "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	daemon=
fi
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed = 0 ]]
