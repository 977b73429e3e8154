#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# format.sh: every C file has the form of .clang-format.  Only the version the
# tree was written with is asked: others move lines.  kmod/ has the kernel's form,
# which checkpatch looks after.
. tests/lint/files.sh
house_files() { c_files | grep -v '^kmod/'; }
tool=$(command -v clang-format-14 || command -v clang-format)
version=$("$tool" --version 2>/dev/null)
if [[ $version != *"version 14."* ]]; then
	echo "clang-format 14 is wanted, here is ${version:-none}"
	exit 77
fi
# a file a line: where it first differs
bad=$(house_files | xargs -d '\n' -n 16 -P "$(nproc)" "$tool" --dry-run --ferror-limit=1 2>&1 |
	grep -E ': (warning|error): code should be' | sort -u)
[[ -z $bad ]] || { echo "$bad"; echo "mend with: clang-format -i FILE"; exit 1; }
# what clang-format leaves alone: comments hold tables, so it may not wrap them
# (80 columns is the house's; two over are not worth a red line)
wide=$(house_files | while IFS= read -r f; do
	expand "$f" | awk -v f="$f" 'length > 82 && /^ *(\*|\/[*\/])/ {
		print f ":" NR ": a comment of " length " columns, at most 80" }'
done)
[[ -z $wide ]] || { echo "$wide"; exit 1; }
echo "$(house_files | wc -l) files have the form of .clang-format"
