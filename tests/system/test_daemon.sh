#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# llmd as whoever starts and stops it sees it: options, lines, exit statuses,
# signals, systemd, ps.
set -u
. "$(dirname "$0")/lib.sh"
LLMD=$B/llmd
[[ -x $LLMD ]] || skip_all "no llmd in $B"

# refused WHAT STATUS REGEX ARGS...: one line on stderr, nothing on stdout
refused() {
	local what=$1 status=$2 regex=$3
	shift 3
	OUT=$(timeout 30 "$LLMD" "$@" 2>"$TMP/err")
	is "$what: exit status" "$?" "$status"
	is "$what: one line" "$(wc -l <"$TMP/err")$OUT" 1
	like "$what: says what and where" "$(<"$TMP/err")" "^llmd: $regex"
}
refused "no model" 2 "no model: --model PATH" --socket "$TMP/x"
refused "an unknown option" 2 "unknown option --modle" --modle x
refused "an option without its value" 2 "--threads wants a value" --model m --threads
refused "a number that is none" 2 "threads: 'many' is not a number from 1 to 1024" --threads=many
refused "a missing model" 1 ".*$TMP/none" --model "$TMP/none" --socket "$TMP/x"
refused "a file in place of a model" 1 ".*" --model "$0" --socket "$TMP/x"
refused "a socket in no directory" 1 "$TMP/no/x: No such file" --backend null --socket "$TMP/no/x"
refused "a socket path too long" 1 "socket path has [0-9]+ bytes" --backend null \
	--socket "$TMP/$(printf '%0200d' 1)"
refused "a missing configuration file" 2 "$TMP/none: No such file" --config "$TMP/none"
printf 'threads = 2\nthraeds = 3\n' >"$TMP/conf"
refused "a bad line in it" 2 "$TMP/conf:2: unknown option thraeds" --config "$TMP/conf"
is "nothing is left of all that" "$(ls "$TMP")" $'conf\nerr'

OUT=$("$LLMD" --version)
like "--version" "$OUT" '^llmd [0-9]+\.[0-9]+\.[0-9]+$'
OUT=$("$LLMD" --help)
is "--help: exit status" "$?" 0
missing=
for o in $(grep -oE -- '^  --[a-z-]+' <<<"$OUT"); do
	grep -q -- "${o//-/\\\\-}" doc/man/llmd.8 || missing+=" $o"
done
is "each option of --help is in llmd(8)" "$missing" ""

# ---- a configuration file, ready, ps
printf '# a comment\nbackend = null\nmax-context = 300\n' >"$TMP/conf"
serve --config "$TMP/conf" || { not_ok "llmd starts" && finish; }
like "the ready line" "$(grep ready "$LOG")" "^llmd: ready: null on $SOCK, context 300, "
kid=$(engine)
is "the engine's comm" "$(cat "/proc/$kid/comm")" llmd-engine
like "the engine's command line" "$(tr '\0' ' ' <"/proc/$kid/cmdline")" '^llmd-engine *$'
is "the socket is its owner's" "$(stat -c %a "$SOCK")" 600
ask ping --socket "$SOCK"
is "it answers" "$RC" 0
OUT=$(timeout 20 "$LLMD" --backend null --socket "$SOCK" 2>&1)
is "a second daemon: exit status" "$?" 1
like "a second daemon: its line" "$OUT" "^llmd: $SOCK: another daemon \(pid $PID\) serves here$"
kill -KILL "$kid"
for _ in {1..100}; do
	grep -q 'serves again' "$LOG" && break
	sleep 0.05
done
like "a killed engine is named, and the next one" "$(<"$LOG")" \
	"engine $kid: the engine died of signal 9 .*serves again"
ask ping --socket "$SOCK"
is "and it answers again" "$RC" 0
kill -TERM "$(engine)" # not ours to end: the keeper decides
sleep 0.1
ask ping --socket "$SOCK"
is "SIGTERM at the engine alone ends nothing" "$RC" 0
stop
is "SIGTERM: exit status" "$RC" 0
is "SIGTERM: the socket is gone" "$([[ -e $SOCK ]] || echo gone)" gone

# ---- a stale socket, SIGINT
serve --backend null || { not_ok "llmd starts again" && finish; }
{ kill -KILL "$PID" && wait "$PID"; } 2>/dev/null
is "a dead daemon leaves its socket" "$(stat -c %F "$SOCK")" socket
serve --backend null --socket-mode 666 || { not_ok "a dead socket is replaced" && finish; }
is "which the next replaces, with the mode it is told" "$(stat -c %a "$SOCK")" 666
kill -INT "$PID"
for _ in {1..100}; do
	kill -0 "$PID" 2>/dev/null || break
	sleep 0.05
done
wait "$PID"
is "SIGINT: exit status" "$?" 0
PID=''

# ---- LLM_SOCKET
: >"$LOG"
LLM_SOCKET=$TMP/env "$LLMD" --backend null 2>"$LOG" &
PID=$!
for _ in {1..100}; do
	grep -q ready "$LOG" && break
	sleep 0.05
done
is "LLM_SOCKET says where" "$(stat -c %F "$TMP/env" 2>&1)" socket
stop

# ---- systemd's notification
need python3
python3 - "$TMP/notify" "$LLMD" "$SOCK" >"$TMP/out" 2>&1 <<'P'
import os, signal, socket, subprocess, sys
path, llmd, sock = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(path)
s.settimeout(20)
env = dict(os.environ, NOTIFY_SOCKET=path)
p = subprocess.Popen([llmd, "--backend", "null", "--socket", sock], env=env,
                     stderr=subprocess.DEVNULL)
print(s.recv(4096).decode().replace("\n", "|"))
p.send_signal(signal.SIGTERM)
print(s.recv(4096).decode().replace("\n", "|"))
print(p.wait(20))
P
like "systemd is told of ready and of stopping" "$(<"$TMP/out")" \
	'^READY=1\|STATUS=null on .*STOPPING=1\|STATUS=draining.0$'
finish
