#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# docs.sh: what the documents say of the tree is so: each file they name is
# there, each `make` target exists, and README's program compiles as it stands.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
say() { echo "$1"; bad=1; }
docs=$(echo README.md doc/*.md)

for d in $docs; do
	# `a/b.c` in back-quotes, or a link; a bare x.c is looked for everywhere
	names=$(grep -oE '`[A-Za-z0-9_./-]+`|\]\([A-Za-z0-9_./-]+\)' "$d" |
		sed -E 's/^`|`$|^\]\(|\)$//g' |
		grep -E '^[A-Za-z0-9_./-]+\.(c|h|py|sh|md)$|^[a-z]+/[A-Za-z0-9_./-]*$|^[A-Z]+$' |
		grep -vE '^/|^\.|^(I[0-9]|HOST|CLIENT|ARENA|ENGINE|END)$' | sort -u)
	for n in $names; do
		[[ -e $n || -e include/$n || -e daemon/$n ]] && continue
		[[ $n != */* ]] && find . -name "$n" -not -path './build/*' | grep -q . && continue
		say "$d: names $n, which is not in the tree"
	done
done
for t in $(grep -ohE '(^|`)make [a-z]+' $docs | awk '{ print $2 }' | sort -u); do
	make -n "$t" 2>&1 | grep -q "No rule to make target '$t'" && say "no target: make $t"
done
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$tmp/ask.c"
[[ -s $tmp/ask.c ]] || say "README has no program in C"
cc -std=gnu11 -Wall -Wextra -Werror -Iinclude -Iinclude/uapi -fsyntax-only "$tmp/ask.c" || bad=1
# a man page names every option, key and call (roff writes - as \-)
manual() { # PAGE; words on stdin
	local word text
	text=$(sed 's/\\-/-/g' "doc/man/$1")
	while read -r word; do
		grep -qE -- "(^|[^A-Za-z_])$word($|[^A-Za-z_-])" <<<"$text" ||
			say "doc/man/$1: says nothing of $word"
	done
}
manual llm.1 < <(grep -ohE '\{ "--[a-z-]+"' tools/cmd_*.c | tr -d '{ "' | sed 's/^--//' | sort -u)
manual llmctl.8 < <(grep -oE '^	+\{ "[a-z-]+"' tools/ctl_tenant.c tools/llmctl.c | grep -oE '[a-z-]+"$' | tr -d '"' | sort -u)
manual llmd.8 < <(grep -oE '^\{ "[a-z-]+"' daemon/config.c | tr -d '{ "')
manual llmclient.3 < <(cc -E -P -Iinclude/uapi include/llmclient.h |
	grep -oE '\bllmc_[a-z_]+ *\(' | tr -d '( ' | sort -u)
manual llm.4 < <(grep -oE '^#define LLMD?_(IOC|URING|AREA)_[A-Z]+' include/uapi/linux/llm.h |
	cut -d' ' -f2 | grep -vE '_(MAGIC|NR)$')
if command -v mandoc >/dev/null; then
	mandoc -T lint -W error doc/man/*.[1-8] || say "mandoc: see above"
fi
# code that explains itself by a page outside the tree explains nothing
git grep -nIE '\b(ipc|engine|cpu|gpu|kernel|ecosystem|distributed|asks|style|design)\.md\b' \
	-- '*.c' '*.h' '*.py' '*.sh' Makefile ':!tests/lint/docs.sh' | cut -c1-110 >"$tmp/pages"
[[ -s $tmp/pages ]] && { head -n 20 "$tmp/pages"; say "$(wc -l <"$tmp/pages") lines name a page that is not in the tree"; }
[[ $bad = 0 ]] && echo "files, targets and the program named in $(wc -w <<<"$docs") documents are there"
exit $bad
