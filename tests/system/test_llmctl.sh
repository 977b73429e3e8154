#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_llmctl.sh: llmctl over the keeper's socket: what it changes holds, what it
# prints is stable, what it refuses it says in a line and an exit status.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/system/lib.sh

CTL=$B/llmctl
unset LLM_SOCKET
# ctl ARGS...: OUT, ERR and RC of llmctl
ctl() {
	OUT=$(timeout 60 "$CTL" --socket "$SOCK" "$@" 2>"$TMP/err")
	RC=$?
	ERR=$(<"$TMP/err")
}
# of JSON in OUT, sorted or not as they stand
keys() {
	python3 -c 'import json,sys
o = json.loads(sys.argv[1])
print(" ".join((o[0] if isinstance(o, list) else o).keys()))' "$OUT"
}

serve --backend null --socket-mode 0666 || {
	not_ok "llmd --backend null serves"
	finish
}
ME=$(id -u)

ctl -n tenant set "$ME" weight 300 memory 1536M inflight 8 token-rate 90 class batch
is "settings are taken" "$RC" 0
read -r head <<<"$OUT"
is "a table has its header" "$(tr -s ' ' <<<"$head")" \
	"TENANT WEIGHT CLASS SESSIONS STREAMS INFLIGHT MEMORY SUBMIT/S TOKENS/S SUBMITTED REFUSED TOKENS"
is "and a row for the tenant, * where something is set" \
	"$(tail -n 1 <<<"$OUT" | tr -s ' ')" "$ME* 300 batch 0/4096 0 0/8 0/1.5G none 90 0 0 0"
is "columns are aligned" "$(awk '{ print length($0) }' <<<"$OUT" | sort -u | wc -l)" 1
ctl -j tenant show "$ME"
is "JSON has all keys, in their order" "$(keys)" \
	"tenant set weight class max_sessions max_streams max_inflight max_memory max_submit_rate max_token_rate sessions streams inflight memory throttled submitted refused tokens"
is "numbers are exact" "$(field max_memory)" 1610612736
is "no limit is null" "$(field max_submit_rate)" null
is "what is set is named" "$(field set)" '["weight", "inflight", "memory", "token-rate", "class"]'
ctl -j tenant list
is "a list is an array of the same" "$(field 0.weight)" 300

ctl tenant set "$ME" memory 1M
"$LLM" run --socket "$SOCK" hello >/dev/null 2>"$TMP/err"
is "a client over its memory gets no session" "$?" 1
like "and is told the numbers" "$(<"$TMP/err")" "asks for [0-9]+ more, at most 1048576"
ctl tenant reset "$ME"
is "a reset is taken" "$RC$OUT" 0
"$LLM" run --socket "$SOCK" -n 3 hello >/dev/null
is "and holds at once" "$?" 0
ctl -j tenant show "$ME"
is "what was refused is counted" "$(field refused)" 1
is "what was taken too" "$(field submitted)" 1
is "nothing of its own is set" "$(field set)" "[]"

# a session that stays: throttled to a crawl
ctl tenant set "$ME" token-rate 1
"$LLM" run --socket "$SOCK" -n 2000 hello >/dev/null 2>"$TMP/killed" &
client=$!
for _ in {1..100}; do
	ctl -j session list
	[[ $OUT != "[]" ]] && break
	sleep 0.05
done
is "a session has its keys" "$(keys)" \
	"session tenant uid pid streams queued running ended tokens age_ms"
is "and its pid" "$(field 0.pid)" "$client"
ctl session kill "$(field 0.session)"
is "it is killed" "$RC$OUT" 0
wait "$client"
is "its client ends with the status of a service that went" "$?" 4
ctl tenant reset "$ME"

ctl -j engine show
is "engine show has its keys" "$(keys)" \
	"carrier state epoch restarts uptime_ms model kv_blocks kv_used kv_cached"
is "and is ready" "$(field state)" ready
ctl -j stat
is "stat has its keys" "$(keys)" \
	"sessions tenants submitted refused_by_limits running waiting steps requests tokens_in tokens_cached tokens_out preemptions wakes bells"
ctl top -n 2 -d 0
like "top shows tenants, and rates from the second look on" "$OUT" "tenants; null.*REQ/S.*REQ/S"

timeout 60 "$CTL" --socket "$SOCK" -j monitor >"$TMP/events" &
monitor=$!
for _ in {1..100}; do # it has said hello once its first event comes
	ctl tenant set "$ME" weight 5
	[[ -s $TMP/events ]] && break
	sleep 0.05
done
kill -KILL "$(engine)"
for _ in {1..200}; do
	grep -q ready "$TMP/events" && break
	sleep 0.05
done
kill "$monitor"
wait "$monitor" 2>/dev/null
OUT=$(grep -m1 tenant "$TMP/events")
is "monitor prints an object a line" "$(keys)" "event time_ms tenant"
OUT=$(grep -m1 daemon "$TMP/events")
is "an engine's death is one" "$(keys) $(field state)" "event time_ms state epoch none"
is "and its successor another" "$(grep -c ready "$TMP/events")" 1
ctl -j tenant show "$ME"
is "settings outlive engines" "$(field weight)" 5

# WORDS | STATUS | what the line says
while IFS='|' read -r words status says; do
	# shellcheck disable=SC2086 # words
	ctl $words
	is "exit $status: llmctl $words" "$RC" "$status"
	like "... with a line" "$ERR" "^llmctl: .*$says"
done <<'END'
|2|no object
nonsense|2|unknown object
--nonsense stat|2|unknown option
tenant|2|help lists it
tenant nonsense|2|unknown command
tenant show|2|which tenant
tenant show nobody-of-this-name|2|a user's name or a number
tenant show 424242|1|neither sessions nor settings
tenant set 7|2|nothing to set
tenant set 7 weight|2|wants a value
tenant set 7 weight 0|2|found "0", allowed 1 to 10000
tenant set 7 weight 10001|2|allowed 1 to 10000
tenant set 7 weight -1|2|allowed 1 to 10000
tenant set 7 class best|2|interactive, batch, idle
tenant set 7 memory 1X|2|as 512M
tenant set 7 memory 99999999P|2|as 512M
tenant set 7 sessions 4294967295|2|a number, or none
tenant set 7 sessions 1 height 3|2|unknown setting
tenant reset 424242|1|no settings of its own
session kill|2|which session
session kill 1x|2|allowed a number
session kill 424242|1|no session 424242
stat now|2|a word too many
top -n x|2|wants a number
-j top|2|for programs
END
ctl --socket "$TMP/none" stat
is "exit 4: no daemon" "$RC" 4
like "... with a line" "$ERR" "no llmd at $TMP/none"

if [[ $ME = 0 ]] && command -v setpriv >/dev/null; then
	chmod 711 "$TMP"
	cp "$CTL" "$TMP/llmctl" && chmod 755 "$TMP/llmctl"
	other() {
		OUT=$(setpriv --reuid 54321 --regid 54321 --clear-groups \
			"$TMP/llmctl" --socket "$SOCK" "$@" 2>"$TMP/err")
		RC=$?
		ERR=$(<"$TMP/err")
	}
	other tenant set 54321 weight 10000
	is "exit 3: another user may not change its own weight" "$RC" 3
	like "... with a line" "$ERR" "uid 54321 may look, not change"
	other session kill 1
	is "exit 3: nor kill a session" "$RC" 3
	ctl tenant set 54321 inflight 3
	other -j tenant list
	is "it sees its own" "$(field 0.tenant) $(field 0.max_inflight)" "54321 3"
	is "and nobody else's" "$(grep -o '"tenant":' <<<"$OUT" | wc -l)" 1
else
	skip "another user may change nothing" "needs root and setpriv"
fi
stop
is "llmd ends as asked" "$RC" 0
finish
