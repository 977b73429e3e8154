#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# packaging/llm.bash-completion offers what llm's --help has.
set -u
cd "$(dirname "$0")/../.." || exit 2
b=${LLM_BUILD:-build}
# shellcheck source=/dev/null
. packaging/llm.bash-completion
passed=0 failed=0
compopt() { :; } # there is no line being edited
offers() { # WANT WORD...: completing the last WORD offers WANT, among others
	local want=$1
	shift
	COMP_WORDS=("$b/llm" "$@") COMP_CWORD=$#
	_llm
	if [[ " ${COMPREPLY[*]} " = *" $want "* ]]; then
		echo "ok $want is offered after: llm $*"
		passed=$((passed + 1))
	else
		echo "# offered: ${COMPREPLY[*]}"
		echo "not ok $want is offered after: llm $*"
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
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed = 0 ]]
