# SPDX-License-Identifier: MIT
# bash completion for llm and llmd: asks their own --help, so it is never stale.
_llm() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words
	case $prev in
	--socket | --device | --model | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--format) words="text ids json" ;;
	--class) words="interactive batch idle" ;;
	--backend) words="cpu null" ;;
	*)
		if [[ $1 == *llmd ]]; then
			words=$("$1" --help 2>/dev/null | grep -oE '^  --[a-z-]+')
		elif [[ $COMP_CWORD = 1 ]]; then
			words="$("$1" --help 2>/dev/null | awk '/^  [a-z]/ { print $1 }') --help --version"
		else
			words="$("$1" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE '^  --?[a-z-]+') --help"
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	# score reads a file, run's prompt may be anything
	[[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -F _llm llm llmd
