#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sass.sh LIBRARY: what the machine code of its kernels is made of.  What each
# must have stands in sass.txt; loads and stores of local memory (LDL, STL) it
# must not have.  TAP; with LLM_VERBOSE=1 a line for each kernel and machine.
# Needs cuobjdump and nvdisasm: of the CUDA toolkit, or, as pip has them, in
# $LLM_CUDA_TOOLS (default ~/.cache/llm-cuda), put there where it can be.
cd "$(dirname "$0")/../.." || exit 2
tools=${LLM_CUDA_TOOLS:-$HOME/.cache/llm-cuda}
PATH=$PATH:/usr/local/cuda/bin:$tools
name="machine code is made of what each kernel is for"

fetch() {
	local tmp wheel
	tmp=$(mktemp -d) || return
	python3 -m pip -q download --no-deps -d "$tmp" nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm >/dev/null 2>&1 &&
		for wheel in "$tmp"/*.whl; do python3 -m zipfile -e "$wheel" "$tmp"; done &&
		mkdir -p "$tools" && install "$tmp"/nvidia/*/bin/* "$tools"
	rm -rf "$tmp"
}

command -v cuobjdump >/dev/null && command -v nvdisasm >/dev/null || fetch
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
	echo "ok $name # SKIP neither the toolkit nor pip has cuobjdump and nvdisasm here"
	exit 0
fi
cuobjdump -sass "$1" | { c++filt 2>/dev/null || cat; } | awk -v title="$name" -v verbose="${LLM_VERBOSE:-}" '
	BEGIN {
		while ((getline line < "tests/cuemu/sass.txt") > 0) {
			nr_words = split(line, word)
			if (!nr_words || word[1] ~ /^#/)
				continue
			part[++nr_parts] = word[1]
			for (i = 2; i <= nr_words; i++) {
				must[nr_parts] = must[nr_parts] " " word[i]
				sub(/^sm_[^:]*:/, "", word[i])
				told[word[i]] = 1
			}
		}
	}
	function bad(what) {
		print "# " arch " " kernel ": " what
		nr_bad++
	}
	function judge(   i, w, nr, x, text) {
		if (kernel == "")
			return
		nr_kernels++
		for (x in told)
			if (count[x])
				text = text " " x " " count[x]
		if (verbose)
			print "# " arch " " kernel ":" text
		if (count["LDL"] || count["STL"])
			bad("local memory is used")
		for (i = 1; i <= nr_parts && index(kernel, part[i]) != 1; i++)
			;
		if (i > nr_parts)
			bad("tests/cuemu/sass.txt does not say what it is for")
		nr = split(must[i], w)
		for (i = 1; i <= nr; i++) {
			x = w[i]
			if (sub(arch ":", "", x) || x !~ /:/)
				if (!count[x])
					bad("no " x)
		}
		kernel = ""
	}
	/code for sm_/ { judge(); arch = $3 }
	/Function : / {
		judge()
		kernel = $0
		sub(/.*Function : /, "", kernel)
		sub(/^void /, "", kernel)
		sub(/\(.*/, "", kernel)
		split("", count)
		reads = 0
	}
	$1 ~ /^\/\*[0-9a-f]+\*\/$/ && kernel != "" {
		i = $2 ~ /^@/ ? 3 : 2
		if (split($i, dot, ".")) {
			op = dot[1]
			sub(/;$/, "", op)
			count[op]++
			if ($i ~ /\.128/)
				count[op ".128"]++
			if (op == "ACQBULK" && !reads)
				count["FIRST"] = 1
			if (op ~ /^(LDG|LDGSTS|LD)$/)
				reads++
			if (op ~ /^(STG|ST|RED|ATOM|ATOMG)$/ && arch == "sm_90a" && !count["ACQBULK"])
				bad(op " before ACQBULK")
		}
	}
	END {
		judge()
		if (!nr_kernels)
			bad("no kernel found")
		print (nr_bad ? "not ok " : "ok ") title
		exit nr_bad > 0
	}'
