#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tree.sh: what must not be in the tree: paths of somebody's machine, addresses
# of package mirrors, big files, source without its licence.
. tests/lint/files.sh
shopt -s lastpipe # what find_bad finds counts in this shell
bad=0
find_bad() { # WHAT, findings on stdin
	local found
	found=$(head -n 10)
	[[ -z $found ]] && return
	echo "$1:"
	sed 's/^/  /' <<<"$found"
	bad=1
}
# [x] keeps this file from finding itself
text() { all_files | grep -vE '^(models|tests/data)/|^LICENSES/|^COPYING$'; }
text | xargs -d '\n' grep -nIE '(^|[^A-Za-z0-9_.])/([w]ork|[r]oot|[h]ome)/[a-z]' 2>/dev/null |
	cut -c1-150 | find_bad "a path of one machine"
all_files | grep -vE '^LICENSES/' |
	xargs -d '\n' grep -nIE '[p]ypi\.|[c]rates\.io|[r]egistry\.|[a]rtifactory|[p]roxy\.golang' 2>/dev/null |
	cut -c1-150 | find_bad "the address of a package registry"
# models/ holds the weights that ship; they have their own bound, all together
all_files | grep -v '^models/' | while IFS= read -r f; do
	size=$(stat -c %s "$f")
	[[ $size -gt 1048576 ]] && echo "$f: $size bytes"
done | find_bad "a file over 1 MiB"
total=$(all_files | grep '^models/' | tr '\n' '\0' | du -cb --files0-from=- 2>/dev/null | tail -n 1 | cut -f1)
[[ ${total:-0} -gt 19922944 ]] &&
	echo "models/ is $total bytes, at most 19 MiB" | find_bad "too big"
all_files | grep -E '\.(c|h|cu|cuh|py|sh|map|mk|service)$|^(Makefile|tests/run|tests/lint/run|\.ci/run)$' |
	grep -v '^tests/data/' | while IFS= read -r f; do
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: ' || echo "$f"
done | find_bad "no SPDX-License-Identifier in the first three lines"
all_files | xargs -d '\n' grep -lIE '[[:space:]]+$' 2>/dev/null | grep -E '\.(c|h|cu|cuh|sh|py|mk)$' |
	find_bad "white space at the end of a line"
[[ $bad = 0 ]] && echo "$(all_files | wc -l) files, no foreign path, none too big"
exit $bad
