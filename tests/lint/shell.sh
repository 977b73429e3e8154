#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# shell.sh: shellcheck over every script that names a shell in its first line.
command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; exit 77; }
. tests/lint/files.sh
scripts=$(all_files | while IFS= read -r f; do
	head -c 60 "$f" | head -n 1 | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b' && echo "$f"
done)
# SC1091: files sourced are checked by themselves.  SC2319 (from 0.9.1 on): the
# status of a condition is what `[[ ... ]]; judge $?` is about
xargs -d '\n' shellcheck -s bash -f gcc -S warning -e SC1091,SC2319 <<<"$scripts" || exit 1
echo "$(grep -c . <<<"$scripts") scripts"
