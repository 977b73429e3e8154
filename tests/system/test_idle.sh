#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test
# With sessions open and nothing to do the service is asleep: keeper, engine
# and its threads together under 10 ms of CPU in 10 s, and few wake-ups.
set -u
. "$(dirname "$0")/lib.sh"
[[ -x $B/llmd ]] || skip_all "no llmd in $B"
need python3
[[ -r /proc/self/schedstat ]] || skip_all "this kernel does not count CPU time finely"

# cpu: what keeper, engine and all their threads have used, in microseconds
cpu() {
	cat "/proc/$PID"/task/*/schedstat "/proc/$(engine)"/task/*/schedstat |
		awk '{ n += $1 } END { printf "%d\n", n / 1000 }'
}
# switches: how often any thread of them went to sleep
switches() {
	cat "/proc/$PID"/task/*/status "/proc/$(engine)"/task/*/status |
		awk '/^voluntary_ctxt/ { n += $2 } END { print n }'
}

idle() { # NAME ARGS...
	local what=$1 a b s i holder
	shift
	serve "$@" || { not_ok "$what: llmd starts" && return; }
	ask run --socket "$SOCK" --ids "5 6 7" -n 20 --ignore-eos --format ids
	is "$what: it has worked" "$(wc -w <<<"$OUT")" 20
	# sessions that are open and stay so
	python3 -c 'import socket, struct, sys, time
hello = struct.pack("<4I", 176, 0x306d6c6c, 1, 0) + struct.pack("<I156x", 160)
s = [socket.socket(socket.AF_UNIX) for _ in range(4)]
for x in s: x.connect(sys.argv[1]); x.sendall(hello); x.recv(344)
time.sleep(60)' "$SOCK" &
	holder=$!
	for ((i = 0; i < 50; i++)); do
		ask info --socket "$SOCK" --format json
		[[ $(field sessions) -ge 4 ]] && break
		sleep 0.1
	done
	is "$what: four sessions are open" "$(field sessions)" 4
	sleep 1
	a=$(cpu) s=$(switches)
	sleep 10
	b=$(cpu) s=$(($(switches) - s))
	i=$((b - a))
	if ((i < 10000)); then ok "$what: $i us of CPU in 10 s"; else not_ok "$what: CPU of 10 s idle" "$i us, allowed 10,000"; fi
	if ((s <= 60)); then ok "$what: $s wake-ups in 10 s"; else not_ok "$what: wake-ups of 10 s idle" "$s, allowed 60"; fi
	kill $holder
	wait $holder 2>/dev/null
	stop
	is "$what: llmd ends with 0" "$RC" 0
}

idle null --backend null
if model=$(shipped_model); then
	idle model --model "$model" --threads 2
else
	skip "idle with a model" "no model"
fi
finish
