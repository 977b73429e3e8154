#!/bin/sh
# SPDX-License-Identifier: MIT
# system.sh: inside the virtual machine, the system tests over the device.
# SUITES (names under tests/system) in /etc/llm-suites, one a line, a program
# and its arguments.  TAP, and one sum over all at the end.
cd /llm || exit 1
# the processor is emulated
export LLM_CARRIER=device LLM_BUILD=build LLM_QUICK=1 LLM_SLOW=20
export PATH=/usr/bin:$PATH # what was brought along, before busybox's
# shellcheck disable=SC3045	# busybox has it
ulimit -n 65536
passed=0 failed=0 skipped=0
while read -r suite || [ -n "$suite" ]; do
	begin=$(date +%s)
	# shellcheck disable=SC2086	# a program and its arguments
	case $suite in
	*.sh*) timeout 3500 bash tests/system/$suite ;;
	*) timeout 1200 build/tests/system/$suite ;;
	esac </dev/null >/tmp/out 2>&1
	rc=$?
	cat /tmp/out
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' /tmp/out | tail -n 1)
	# shellcheck disable=SC2046	# words
	set -- $(echo "${sum:-0 passed, 0 failed, 0 skipped}" | tr -d ,)
	passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
	if [ -z "$sum" ] || { [ $rc != 0 ] && [ "$3" = 0 ]; }; then
		echo "not ok $suite # exit $rc, ${sum:-no sum}"
		failed=$((failed + 1))
	fi
	echo "# $suite: $(($(date +%s) - begin)) s"
done </etc/llm-suites
echo "system over the device: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
