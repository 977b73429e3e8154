#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test_install.sh: what `make install` puts under DESTDIR is all a user of the
# library needs, and `make uninstall` takes all of it away again.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${LLM_BUILD:-build}
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
passed=0 failed=0 skipped=0
check() { # NAME COMMAND...
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok $name"
		passed=$((passed + 1))
	else
		head -n 20 <<<"$out" | sed 's/^/# /'
		echo "not ok $name"
		failed=$((failed + 1))
	fi
}
skip() {
	echo "ok $1 # SKIP $2"
	skipped=$((skipped + 1))
}

installs() { make -s B="$B" install PREFIX=/usr DESTDIR="$d/root"; }
has_all() {
	local f bad=0
	for f in sbin/llmd bin/llm lib/libllmclient.so lib/libllmclient.a include/llmclient.h \
		include/linux/llm.h lib/pkgconfig/llmclient.pc lib/systemd/system/llmd.service; do
		[[ -s $d/root/usr/$f ]] || { echo "no $f"; bad=1; }
	done
	return $bad
}
# README's program, against nothing but what was installed
program() {
	local flags
	awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$d/ask.c"
	flags=$(PKG_CONFIG_SYSROOT_DIR="$d/root" PKG_CONFIG_LIBDIR="$d/root/usr/lib/pkgconfig" \
		PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
		pkg-config --cflags --libs "$@" llmclient) || return
	# shellcheck disable=SC2086	# flags are words
	cc -Wall -Werror -o "$d/ask" "$d/ask.c" ${static:+-static} $flags
}
runs() { # no service there: one line, exit 1
	local out
	out=$(LD_LIBRARY_PATH="$d/root/usr/lib" LLM_SOCKET="$d/none" "$d/ask" 2>&1)
	[[ $? = 1 && $out == *"$d/none"* && $(wc -l <<<"$out") = 1 ]] || { echo "$out"; false; }
}
gone() {
	make -s B="$B" uninstall PREFIX=/usr DESTDIR="$d/root" || return
	find "$d/root" -type f -o -type l | grep . && return 1
	return 0
}

[[ $B != *san-* ]] || { skip "make_install" "not what anyone installs"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[[ -x $B/llmd ]] || { skip "make_install" "no llmd in $B"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
check installs_what_a_user_needs installs
check every_part_is_there has_all
check the_program_of_the_readme_links_with_pkg_config program
check and_says_in_one_line_that_no_service_is_there runs
static=1 check it_links_statically_too program --static
check uninstall_leaves_nothing gone
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed = 0 ]]
