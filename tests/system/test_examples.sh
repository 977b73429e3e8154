#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The examples print what `llm run` prints, in under 60 lines each.
set -u
. "$(dirname "$0")/lib.sh"

for f in examples/*.c; do
	n=$(wc -l <"$f")
	is "${f##*/} has under 60 lines ($n)" "$((n < 60))" 1
done
[[ -x $B/llmd ]] || skip_all "no llmd in $B"
model=$(shipped_model) || skip_all "no model with a tokenizer"
short=()
slow && short=(--max-context 96) # what they say ends there
serve --model "$model" --threads $THREADS "${short[@]}" || { not_ok "llmd starts" && finish; }

prompts=("NAME tar - an archiving utility" "The file system" "If the option is given,")
want=()
for p in "${prompts[@]}"; do
	ask run --socket "$SOCK" --format text "$p"
	want+=("$OUT")
done
like "the model says something" "${want[0]}" .

ask run --socket "$SOCK" --chat "what does tar do?"
got=$(timeout 60 "$B/examples/blocking" "what does tar do?" "$SOCK" 2>"$TMP/err")
is "blocking: one prompt as a user's turn" "$(head -n -1 <<<"$got")" "$OUT"
like "blocking: its account" "${got##*$'\n'}" '^\[stop after [0-9]+ tokens, '
timeout 60 "$B/examples/blocking" "hello" "$TMP/none" 2>"$TMP/err"
is "blocking: no daemon" "$?" 1
is "blocking: no daemon, one line" "$(wc -l <"$TMP/err")" 1

# pieces of several streams, told apart by their number; newlines are text
export LLM_SOCKET=$SOCK
timeout 60 "$B/examples/poll" "${prompts[@]}" >"$TMP/out"
is "poll: ends by itself" "$?" 0
is "poll: every stream ends" "$(grep -cE '^[123]: \[(stop|length)\] $' "$TMP/out")" 3
for i in 1 2 3; do
	# a line begins with a stream's number; what does not goes on with its text
	got=$(awk -v me="$i" '/^[123]: / { mine = substr($0, 1, 1) == me && !/^[123]: \[/
			if (mine) printf "%s", substr($0, 4)
			next }
		mine { printf "\n%s", $0 }' "$TMP/out")
	is "poll: the text of prompt $i" "$got" "${want[i - 1]}"
done

if [[ -x $B/examples/uring ]]; then
	got=$(timeout 60 "$B/examples/uring" "${prompts[1]}" 2>"$TMP/err")
	rc=$?
	if grep -q 'no io_uring here' "$TMP/err" && [[ $rc = 1 ]]; then
		skip "uring: the text" "no io_uring here"
	else
		is "uring: the text" "$got" "${want[1]}"
	fi
else
	skip "uring: the text" "built without liburing"
fi
stop
is "llmd ends with 0" "$RC" 0
finish
