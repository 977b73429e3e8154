#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sizes.sh: no file over 900 lines, no Makefile over 250; the longest files and
# functions are named, so that someone looks for the second idea in them.
. tests/lint/files.sh
bad=$(c_files | xargs -d '\n' wc -l | awk '$2 != "total" && $1 > 900 {
	print $2 ": " $1 " lines, at most 900" }'
	awk 'END { if (NR > 250) print "Makefile: " NR " lines, at most 250" }' Makefile)
[[ -z $bad ]] || { echo "$bad"; exit 1; }
file=$(c_files | xargs -d '\n' wc -l | grep -v ' total$' | sort -rn | head -n 1 |
	awk '{ print $2 " " $1 }')
# a function's body is between { and } in column 0; its name stands before the (
longest=$(c_files | grep -v '^tests/' | xargs -d '\n' awk '
	/^[a-zA-Z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\{/ { start = FNR }
	/^\}/ && start { print FNR - start + 1, FILENAME ":" name; start = 0 }' |
	sort -rn | head -n 3 | awk '{ printf "%s%s %d", (NR > 1 ? ", " : ""), $2, $1 }')
echo "longest file $file; longest functions $longest"
