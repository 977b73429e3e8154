# SPDX-License-Identifier: MIT
# files.sh (sourced): what the checks read.  In a clone that is what git knows
# or would add; in an unpacked archive everything outside build/.
all_files() {
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard
	else
		find . -path ./build -prune -o -type f -printf '%P\n'
	fi | while IFS= read -r f; do [[ -f $f && ! -L $f ]] && printf '%s\n' "$f"; done
}
c_files() { all_files | grep -E '\.(c|h|cu|cuh)$'; }
headers() { all_files | grep -E '^(include|base|text|checkpoint|kernels|daemon|libclient|tools)/.*\.h$'; }
