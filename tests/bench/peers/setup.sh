#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tests/bench/peers/setup.sh DIR: llama.cpp, in the version that the Python
# package llama-cpp-python brings, built for this machine into DIR/build: its
# library and its server.  pip gives the source; building it takes minutes, once.
# Prints one line with the reason where it cannot be had, and ends with 1.
set -u
dir=$1
version=0.3.36
need() {
	local c
	for c; do
		command -v "$c" >/dev/null || { echo "llama.cpp: no $c here" && exit 1; }
	done
}
need python3 cmake c++
[[ -x $dir/build/bin/llama-server ]] && exit 0
mkdir -p "$dir" || exit 1
log=$dir/setup.log
src=$dir/llama_cpp_python-$version/vendor/llama.cpp
echo "llama.cpp: building it once into $dir (minutes; $log)" >&2
{
	[[ -e $src ]] || {
		python3 -m pip download --no-deps --no-binary llama-cpp-python \
			-d "$dir" "llama-cpp-python==$version" &&
			tar -xzf "$dir/llama_cpp_python-$version.tar.gz" -C "$dir"
	}
} >"$log" 2>&1 || { echo "llama.cpp: pip cannot get llama-cpp-python: $(tail -n 1 "$log")" && exit 1; }
# as its own makers build it: tinyBLAS, OpenMP and repacking are on by default
{
	cmake -S "$src" -B "$dir/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
		-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
		-DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF &&
		nice -n 5 cmake --build "$dir/build" --target llama-server -j "$(nproc)"
} >>"$log" 2>&1 || { echo "llama.cpp: does not build: $(tail -n 1 "$log")" && exit 1; }
