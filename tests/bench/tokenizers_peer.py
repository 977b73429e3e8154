#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tokenizers_peer.py VOCABULARY TEXT: what bench_text compares with.

Encodes the file TEXT three times with the Python package `tokenizers`, one
thread, and prints the least CPU seconds, the number of ids and a checksum of
them (FNV-1a over the ids).  VOCABULARY is a folder with a tokenizer.json; or
one with a vocab.gguf.xz, which ../make_tokenizers.py of the golden data reads.
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
try:
    from tokenizers import Tokenizer
    vocabulary, text = sys.argv[1:]
    if os.path.exists(vocabulary + "/tokenizer.json"):
        t = Tokenizer.from_file(vocabulary + "/tokenizer.json")
    else:
        sys.path.insert(0, vocabulary + "/../..")
        import make_tokenizers
        t = make_tokenizers.load(vocabulary)
except ImportError as e:
    sys.exit(f"not compared: {e} (pip install tokenizers gguf)")
with open(text, encoding="utf-8", newline="") as f:
    s = f.read()
best = float("inf")
for _ in range(3):
    start = time.process_time()
    ids = t.encode(s, add_special_tokens=False).ids
    best = min(best, time.process_time() - start)
h = 0xCBF29CE484222325
for i in ids:
    h = (h ^ i) * 0x100000001B3 & (1 << 64) - 1
print(best, len(ids), h)
