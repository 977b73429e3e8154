#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# warnings.sh: every file compiles without a warning, stricter than the build,
# with gcc and with clang.  Objects are kept in build/lint-*, so a second run
# looks only at what changed.
both="-Wformat=2 -Wwrite-strings -Wundef -Wredundant-decls -Wnested-externs
	-Wold-style-definition -Wimplicit-fallthrough"
used='' bad=0
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	case $cc in
	gcc) cxx=g++ own="-Wlogical-op -Wduplicated-cond -Wduplicated-branches
		-Wimplicit-fallthrough=5 -Wjump-misses-init -Wno-format-truncation" ;;
	clang) cxx=clang++ own="-Wunreachable-code" ;;
	esac
	# shellcheck disable=SC2086	# a list of flags, on one line
	out=$(make -s -k -j"$(nproc)" B=build/lint-$cc CC=$cc CXX=$cxx WERROR=1 SAN= MARKS= \
		CFLAGS="-O1 $(echo $both $own)" objs 2>&1) || {
		grep -E 'warning:|error:' <<<"$out" || echo "$out"
		bad=1
	}
	used+="${used:+ and }$cc"
done
[[ $bad = 0 ]] || exit 1
[[ -n $used ]] || { echo "neither gcc nor clang"; exit 77; }
echo "no warning with $used"
