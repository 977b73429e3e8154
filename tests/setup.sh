#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/setup.sh build|check: see that what `make demo` (build) or `make check`
# (build and check) needs is on this machine, and install on Debian and Ubuntu
# what is not.  It asks for the thing itself (a command, a header), so it does
# nothing where nothing is missing, whatever the distribution.
#
# A missing build package ends it with 1; a missing tool of the tests does not:
# the tests that need it are skipped, and say so.
set -u

want=${1:-build}
cc=$(command -v "${CC:-cc}" || command -v gcc || command -v clang)

has_command() { command -v "$1" >/dev/null 2>&1; }
has_header() { [[ -n $cc ]] && echo "#include <$1>" | "$cc" -E -x c - >/dev/null 2>&1; }
# the tree's format was written with this version; another moves lines
has_format() { has_command clang-format-14 || clang-format --version 2>/dev/null | grep -q 'version 14\.'; }

# for      what shows that it is there      package             what it is for
needs() {
	cat <<-'END'
	build	command cc	gcc	the compiler
	build	command make	make	the build
	build	header stdio.h	libc6-dev	the C library's headers
	build	command pkg-config	pkg-config	finds the libraries
	build	header jansson.h	libjansson-dev	reads config.json, tokenizer.json
	build	header pcre2posix.h	libpcre2-dev	pre-tokenizers
	build	header utf8proc.h	libutf8proc-dev	Unicode normal forms
	build	header sodium.h	libsodium-dev	digests, keyed hashes
	build	header liburing.h	liburing-dev	the io_uring example
	build	command ps	procps	the demo finds its processes
	check	command python3	python3	the lint of the walls
	check	command nm	binutils	what core/ calls
	check	command clang	clang	warnings of a second compiler
	check	command g++	g++	public headers from C++
	check	format -	clang-format-14	the form of the source
	check	command shellcheck	shellcheck	the lint of scripts
	check	command strace	strace	counts system calls
	END
}

missing=() must=0
declare -A reasons
while IFS=$'\t' read -r for probe package reason; do
	[[ $for = build || $want = check ]] || continue
	# shellcheck disable=SC2086	# two words: which probe, its argument
	"has_${probe%% *}" ${probe#* } && continue
	missing+=("$package")
	reasons[$package]=$reason
	[[ $for = build ]] && must=1
done < <(needs)
[[ ${#missing[@]} = 0 ]] && exit 0

named() { # what is missing, each with what it is for
	local out='' package
	for package in "${missing[@]}"; do
		out+="${out:+, }$package (${reasons[$package]})"
	done
	echo "$out"
}

give_up() {
	echo "setup: $1; missing: $(named)" >&2
	[[ $must = 1 ]] && exit 1
	echo "setup: only tests need them: those are skipped" >&2
	exit 0
}

has_command apt-get ||
	give_up "no apt-get here: install what your distribution calls these"
if [[ $(id -u) = 0 ]]; then
	root=(env)
elif has_command sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
	root=(sudo)
else
	give_up "neither root nor sudo: as root, run apt-get install ${missing[*]}"
fi

echo "installing $(named)"
apt() {
	"${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}
install() { apt install -y --no-install-recommends "$@"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install "${missing[@]}" && exit 0
apt update # a fresh machine has no package lists yet
install "${missing[@]}" && exit 0
# one that this release does not have must not keep the others away
failed=()
for package in "${missing[@]}"; do
	install "$package" || failed+=("$package")
done
[[ ${#failed[@]} = 0 ]] && exit 0
tail -n 5 "$log" | sed 's/^/setup: /' >&2
must=0
for package in "${failed[@]}"; do
	needs | grep -q "^build.*	$package	" && must=1
done
missing=("${failed[@]}")
give_up "apt-get could not install them"
