#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The kernel module's device as a person at a shell sees it: which carrier is
# taken, who may what, llmd that dies, ends and comes back while streams wait.
# Needs /dev/llm: tests/vm/system boots a machine that has it.
set -u
. "$(dirname "$0")/lib.sh"
[[ -c /dev/llm && -r /dev/llmd ]] || skip_all "no kernel module here (make check-kmod boots one)"
unset LLM_SOCKET LLM_DEVICE LLM_CARRIER XDG_RUNTIME_DIR
LLMD=$B/llmd
as() { # USER COMMAND...
	local user=$1
	shift
	su -s /bin/sh "$user" -c "$*" 2>&1
}
begin() { # ARGS...: llmd, no carrier named
	: >"$LOG"
	"$LLMD" "$@" >>"$LOG" 2>&1 </dev/null &
	PID=$!
	for _ in {1..600}; do
		grep -q ready "$LOG" && return 0
		kill -0 "$PID" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
until_grep() { # REGEX FILE: at most 30 s
	local i
	for ((i = 0; i < 300; i++)); do
		grep -qE "$1" "$2" && return 0
		sleep 0.1
	done
	return 1
}

# ---- nobody serves
ask ping
is "without an llmd: exit status" "$RC" 4
is "without an llmd: one line" "$ERR" "llm: no llmd serves /dev/llm"

# ---- which carrier
begin --backend null || { sed 's/^/# /' "$LOG" && not_ok "llmd takes the device by itself" && finish; }
like "llmd takes the device by itself" "$(<"$LOG")" "ready: null on /dev/llmd,"
ask ping
is "and so do clients" "$RC" 0
OUT=$(timeout 20 "$LLMD" --backend null 2>&1)
is "a second llmd: exit status" "$?" 1
like "a second llmd: its line" "$OUT" "^llmd: /dev/llmd: another daemon has it"
OUT=$(timeout 20 "$LLMD" --backend null --device /dev/null 2>&1)
like "another device: its line" "$OUT" "^llmd: attaching to the device: "
OUT=$(as ada "timeout 20 $LLMD --backend null --device")
like "a user may not serve" "$OUT" "^llmd: /dev/llmd: Permission denied"
OUT=$(as ada "$LLM run -n 5 --ids '5 6 7' --ignore-eos --format ids")
is "but may ask" "$(wc -w <<<"$OUT")" 5
ask run -n 5 --ids "5 6 7" --ignore-eos --seed 1 --format ids
is "and hears what everybody hears" "$OUT" \
	"$(as ada "$LLM run -n 5 --ids '5 6 7' --ignore-eos --seed 1 --format ids")"
ask info
like "llm info tells what is served" "$OUT" "null"

# ---- who is there
"$LLM" run -n 30000 --ids "5 6 7" --ignore-eos --format ids >"$TMP/ids" &
mine=$!
su -s /bin/sh ada -c "exec $LLM run -n 30000 --ids '5 6 7' --ignore-eos --format ids" >"$TMP/hers" &
hers=$!
until_grep ' ' "$TMP/ids" && until_grep ' ' "$TMP/hers"
kill -STOP "$(engine)" # the moment is held
users() { tail -n +2 <<<"$OUT" | awk '{ print $2 }' | sort | tr '\n' ' '; }
OUT=$(as ada "$LLM ps")
is "llm ps shows a user his own sessions" "$(users)" "1000 "
ask ps
is "and root everybody's" "$(users)" "0 1000 "
OUT=$(as ada "$LLM ps --format json")
like "with their numbers" "$OUT" '^\[\{"session":[0-9]+,"tenant":1000,"uid":1000,"pid":[1-9][0-9]*,"queued":0,"running":1,'
kill -CONT "$(engine)"
kill $mine $hers
wait $mine $hers
"$LLMD" --backend null --socket "$TMP/s" >"$TMP/log2" 2>&1 &
second=$!
until_grep ready "$TMP/log2"
ask ping --socket "$TMP/s"
is "beside it one serves a socket" "$RC" 0
kill "$second"
wait "$second"

# ---- the engine dies
engines() { grep -c 'serves again' "$LOG"; }
"$LLM" run -n 30000 --ids "5 6 7" --ignore-eos --seed 1 --format ids >"$TMP/ids" 2>"$TMP/err2" &
reader=$!
until_grep ' ' "$TMP/ids"
for n in 1 2 3; do
	kill -KILL "$(engine)"
	for _ in {1..200}; do
		[[ $(engines) -ge $n ]] && break
		sleep 0.1
	done
done
wait $reader
is "three engines killed under a stream: its end" "$?" 0
is "and no token is missing" "$(wc -w <"$TMP/ids")" 30000
ask run -n 30000 --ids "5 6 7" --ignore-eos --seed 1 --format ids
is "or another than it would have been" "$(md5sum <<<"$OUT")" "$(md5sum <"$TMP/ids")"

# ---- llmd itself ends, and dies
"$LLM" run -n 30000 --ids "5 6 7" --ignore-eos --seed 1 --format ids >"$TMP/ids" 2>"$TMP/err2" &
reader=$!
until_grep ' ' "$TMP/ids"
{ kill -KILL "$PID" && wait "$PID"; } 2>/dev/null
sleep 1
is "llmd killed: the client waits" "$(kill -0 $reader && echo alive)" alive
begin --backend null
is "the next llmd takes the device" "$?" 0
stop # in the middle of it: drained
is "SIGTERM: exit status" "$RC" 0
begin --backend null
wait $reader
is "over three llmds the stream ends well" "$?" 0
is "with the same tokens" "$(md5sum <<<"$OUT")" "$(md5sum <"$TMP/ids")"

# ---- a shell alone, where there is a model with a chat form
stop
is "llmd ends with 0" "$RC" 0
model=$(shipped_model) || { skip "write and read" "no model with a tokenizer" && finish; }
begin --model "$model" --threads 1 || { not_ok "llmd serves a model" && finish; }
ask run -n 16 --chat "man ls"
exec 3<>/dev/llm
printf 'man ls' >&3
is "what is written to /dev/llm is one turn, its answer is read" \
	"$(timeout 120 head -c ${#OUT} <&3)" "$OUT"
exec 3>&-
stop
is "llmd ends with 0" "$RC" 0
finish
