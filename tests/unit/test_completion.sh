#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# packaging/*.bash-completion offer what the --help of llm, llmd and llmctl has.
set -u
cd "$(dirname "$0")/../.." || exit 2
b=${LLM_BUILD:-build}
# shellcheck source=/dev/null
. packaging/llm.bash-completion
# shellcheck source=/dev/null
. packaging/llmctl.bash-completion
# shellcheck source=/dev/null
. packaging/llmd.bash-completion
passed=0 failed=0
compopt() { :; } # there is no line being edited
tool=llm
offers() { # WANT WORD...: completing the last WORD offers WANT, among others
	local want=$1
	shift
	COMP_WORDS=("$b/$tool" "$@") COMP_CWORD=$#
	"_$tool"
	if [[ " ${COMPREPLY[*]} " = *" $want "* ]]; then
		echo "ok $want is offered after: $tool $*"
		passed=$((passed + 1))
	else
		echo "# offered: ${COMPREPLY[*]}"
		echo "not ok $want is offered after: $tool $*"
		failed=$((failed + 1))
	fi
}
offers tokenize to
offers detokenize d
offers --temperature run --te
offers --stop run hi --s
offers batch run --class b
offers json run hi --format ""
offers --format ps --
offers "$b" run --socket "${b%?}"
offers README.md score RE
offers README.md plan --memory 8G RE
tool=llmctl
offers tenant te
offers --numeric --n
offers -j -
offers monitor -j --socket /tmp/x m
offers reset tenant re
offers kill session k
offers -d top -
offers root tenant set ro
offers weight -j tenant set root w
offers token-rate tenant set root weight 5 to
offers batch tenant set root class b
offers none tenant set root memory n
offers "$b" --socket "${b%?}"
tool=llmd
offers --kv-memory --kv
offers null --backend n
offers README.md --model RE
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed = 0 ]]
