#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# dist.sh BUILD: BUILD/llm-gpu.tar.xz, for an x86-64 machine with a GPU, its
# driver and this glibc or a newer one, and nothing else: llmd and llm with the
# CUDA kernels and the libraries they need (`./run llmd ...`), the model that
# ships, and `./check-gpu`.  An error above 60 MB.
set -eu
cd "$(dirname "$0")/../.."
build=$1 most=$((60 << 20))
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/llm-gpu
mkdir -p "$root/gpu" "$root/lib" "$root/models" "$root/tests/cuemu" "$root/tests/system" "$root/tests/data"
cp -r models/manpages-2m "$root/models/"
# what the tests read, and those that are scripts, where they find each other
cp -r tests/data/models tests/data/gguf "$root/tests/data/"
[[ ! -d tests/data/quantized ]] || cp -r tests/data/quantized "$root/tests/data/"
cp tests/cuemu/check-gpu tests/cuemu/test_backend_llmd.sh tests/cuemu/peers.py "$root/tests/cuemu/"
cp tests/system/lib.sh "$root/tests/system/"
for f in llmd llm llmctl; do cp -L "$build/$f" "$root/"; done
for f in libllm-cuda.so libllmclient.so.0; do cp -L "$build/$f" "$root/lib/"; done
# what is not glibc's
ldd "$root/llmd" "$root/llm" "$root/llmctl" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
	grep -vE '/lib(c|m|dl|rt|pthread|llmclient)\.so' | xargs -r cp -Lt "$root/lib"
cp "$build"/gpu/* "$root/gpu/"
strip --strip-unneeded "$root"/llm* "$root"/lib/* "$root"/gpu/*
cat >"$root/run" <<'END'
#!/bin/sh
# run llmd|llm|llmctl ...
here=$(cd "$(dirname "$0")" && pwd)
program=$1
shift
LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/$program" "$@"
END
cat >"$root/check-gpu" <<END
#!/bin/sh
# the kernels' tests and their speed on the GPU of this machine; BUDGET= seconds
cd "\$(dirname "\$0")" || exit 2
export LLM_COMMIT=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
export LLM_BUILD=. LD_LIBRARY_PATH=\$PWD/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
exec tests/cuemu/check-gpu gpu lib/libllm-cuda.so gpu-ledger.jsonl
END
chmod +x "$root/run" "$root/check-gpu"
# each program has all kernels in it: a window over two of them finds them again
XZ_OPT=--lzma2=preset=6,dict=64MiB tar -C "$stage" --sort=name --owner=0 --group=0 -cJf "$build/llm-gpu.tar.xz" llm-gpu
size=$(stat -c %s "$build/llm-gpu.tar.xz")
if ((size > most)); then
	echo "$build/llm-gpu.tar.xz: $size bytes, allowed $most" >&2
	exit 1
fi
echo "$build/llm-gpu.tar.xz: $((size >> 20)) MB; unpack it, ./check-gpu"
