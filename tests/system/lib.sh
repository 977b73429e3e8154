# SPDX-License-Identifier: MIT
# lib.sh - what the shell tests of the system share: a checked sentence, an
# llmd of one's own.  Sourced; ends the caller's process group's daemons at exit.
# shellcheck shell=bash
B=${LLM_BUILD:-build}
GOLDEN=${LLM_GOLDEN:-../shared/data}
LLM=$B/llm
TMP=$(mktemp -d /tmp/llm-test-XXXXXX)
passed=0 failed=0 skipped=0
SOCK=$TMP/s LOG=$TMP/log PID=''
CARRIER=(--socket "$SOCK")
# the kernel module's node stands for the socket everywhere
[[ ${LLM_CARRIER:-} != device ]] || SOCK=/dev/llm CARRIER=(--device /dev/llmd)
export SOCK

trap '[[ -z $PID ]] || { kill -KILL "$PID"; wait "$PID"; } 2>/dev/null; rm -rf "$TMP"' EXIT
trap 'exit 143' TERM INT

ok() { passed=$((passed + 1)) && echo "ok $1"; }
not_ok() { # WHAT [WHY...]
	local what=$1
	shift
	printf '# %s\n' "$@"
	failed=$((failed + 1))
	echo "not ok $what"
}
skip() { skipped=$((skipped + 1)) && echo "ok $1 # SKIP $2"; }
# is WHAT GOT WANT
is() {
	if [[ $2 == "$3" ]]; then ok "$1"; else not_ok "$1" "got:  ${2:0:300}" "want: ${3:0:300}"; fi
}
# like WHAT GOT REGEX
like() {
	if [[ $2 =~ $3 ]]; then ok "$1"; else not_ok "$1" "got:  ${2:0:300}" "like: $3"; fi
}
finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	exit $((failed > 0))
}
skip_all() {
	skip "${0##*/}" "$1"
	finish
}

# need COMMAND: the rest of the script is skipped where it is not installed
# (`make check` installs it; `make quick` takes what is there)
need() {
	command -v "$1" >/dev/null || skip_all "no $1 here; make check installs it"
}

# ask ARGS...: OUT, ERR and RC of the client's command, at most a minute
ask() {
	OUT=$(timeout $((30 * (1 + ${LLM_SLOW:-1}))) "$LLM" "$@" 2>"$TMP/err")
	RC=$?
	ERR=$(<"$TMP/err")
}

# field NAME...: of the JSON in OUT (neither jq nor python3 is everywhere)
field() { "$B/tests/system/field" "$@" <<<"$OUT"; }

# the kernel module's device is served, by a processor that may be an emulated one
device() { [[ ${LLM_CARRIER:-} == device ]]; }
slow() { [[ ${LLM_SLOW:-1} -gt 1 ]]; }
# threads of one's own that compute: an emulator runs them in turn
THREADS=2
slow && THREADS=1

# serve ARGS...: an llmd for SOCK; 1 where it did not get ready
serve() {
	local i
	: >"$LOG"
	"$B/llmd" "${CARRIER[@]}" "$@" >>"$LOG" 2>&1 </dev/null &
	PID=$!
	for ((i = 0; i < 300; i++)); do
		grep -q ready "$LOG" && return 0
		kill -0 "$PID" 2>/dev/null || break
		sleep 0.1
	done
	sed 's/^/# llmd: /' "$LOG"
	PID=''
	return 1
}

# stop: SIGTERM; its exit status in RC
stop() {
	local i
	kill -TERM "$PID" 2>/dev/null
	for ((i = 0; i < 300 * ${LLM_SLOW:-1}; i++)); do
		kill -0 "$PID" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$PID" 2>/dev/null && sleep 0.1
	wait "$PID"
	RC=$?
	PID=''
}

# the pid of the engine under PID
engine() {
	local kid
	for kid in $(cat "/proc/$PID/task/$PID/children" 2>/dev/null); do
		[[ $(cat "/proc/$kid/comm" 2>/dev/null) == llmd-engine ]] && echo "$kid"
	done
}

# a model with a tokenizer that answers man-page questions; none: status 1
shipped_model() {
	local d
	for d in models/manpages-2m models/*/ "$GOLDEN/trial-model"; do
		[[ -e $d/tokenizer.json && -e $d/config.json ]] && echo "${d%/}" && return 0
	done
	return 1
}

# golden_model NAME: where it lies
golden_model() {
	local d
	for d in tests/data/models "$GOLDEN/models"; do
		[[ -e $d/$1/config.json ]] && echo "$d/$1" && return 0
	done
	return 1
}
