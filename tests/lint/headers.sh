#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# headers.sh: each header compiles alone, with gcc and clang; what we install
# and the contract also as strict C11 and from C++ (their users' language); those
# of CUDA as C++ beside the emulator.
. tests/lint/files.sh
list=$(headers)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
read -ra libs <<<"$(pkg-config --cflags jansson libpcre2-8 libutf8proc libsodium 2>/dev/null)"
warn=(-Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter)

alone() { # COMPILER ARGUMENT...; headers on stdin.  Not `cc x.h`: a header as
	# the main file gets warnings of its own
	command -v "$1" >/dev/null || return 0
	while read -r h; do
		printf '%s\0' "$h"
	done | xargs -0 -r -P "$(nproc)" -I{} sh -c '
		h=$1 out=$2/$3.$(echo "$1" | tr / _); shift 3
		echo "#include \"$h\"" | "$@" -fsyntax-only -I. -Iinclude \
			-Iinclude/uapi - >"$out" 2>&1 && rm "$out"
		true' sh {} "$tmp" "$((++nr))" "$@"
}

nr=0
for cc in gcc clang; do
	alone $cc -x c -std=gnu11 -D_GNU_SOURCE "${warn[@]}" "${libs[@]}" <<<"$list"
	grep '^include/' <<<"$list" |
		alone $cc -x c -std=c11 -pedantic "${warn[@]}"
done
for h in include/llmclient.h include/uapi/linux/llm.h; do [[ -e $h ]] && echo "$h"; done |
	alone g++ -x c++ -std=c++11 -pedantic "${warn[@]}"
cuda=$(all_files | grep -E '^kernels/cuda/.*\.(cuh|h)$')
[[ $(uname -m) != x86_64 ]] || for cc in g++ clang++; do
	alone $cc -x c++ -std=c++17 -include tests/cuemu/cuemu.h "${warn[@]}" \
		-Wno-unknown-pragmas <<<"$cuda"
done
list+=$'\n'$(grep '\.cuh$' <<<"$cuda")
if compgen -G "$tmp/*" >/dev/null; then
	cat "$tmp"/*
	exit 1
fi
echo "$(grep -c . <<<"$list") headers compile alone"
