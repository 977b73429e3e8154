#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ptxas.sh LOG...: what `ptxas -v` said while it compiled, a line a kernel:
# registers a thread for each machine, its name, and what it spills (of the
# machine where that is most).  A spill, or any other use of local memory, is an
# error, and so are products of a warpgroup that wait for each other.
cat "$@" | { c++filt 2>/dev/null || cat; } | awk '
	/Compiling entry function/ {
		split($0, part, "\047")
		name = part[2]
		arch = part[4]
		sub(/\(.*/, "", name)
		sub(/^void /, "", name)
		if (!(name in seen)) {
			seen[name] = 1
			names[++nr] = name
		}
		if (!(arch in known)) {
			known[arch] = 1
			archs[++nr_archs] = arch
		}
	}
	/bytes stack frame/ {
		stores[name] = $5 > stores[name] ? $5 : stores[name]
		loads[name] = $9 > loads[name] ? $9 : loads[name]
		if ($1 + $5 + $9 > 0) {
			print name " for " arch ":" $0
			bad++
		}
	}
	/Used [0-9]+ registers/ {
		for (i = 1; i < NF; i++)
			if ($i == "Used")
				used[name, arch] = $(i + 1)
	}
	/wgmma.mma_async instructions are serialized/ {
		print
		serial++
	}
	END {
		for (j = 1; j <= nr_archs; j++)
			printf "%8s", archs[j]
		print "  registers of"
		for (i = 1; i <= nr; i++) {
			for (j = 1; j <= nr_archs; j++)
				printf "%8s", used[names[i], archs[j]]
			printf "  %s, %d bytes spill stores, %d bytes spill loads\n", names[i], stores[names[i]], loads[names[i]]
		}
		print nr + 0 " kernels, " (bad ? bad " use" : "none uses") " local memory"
		exit nr == 0 || bad + serial > 0
	}'
