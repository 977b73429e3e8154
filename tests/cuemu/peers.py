#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peers.py [--tiny]: what others need for the same on this GPU, a line of JSON each, as speed.cu and
test_backend_e2e.c print theirs: products by torch.mm (cuBLAS) and by Triton, attention by torch's SDPA, and whole
steps of transformers' Llama of the 8B shape, with random weights and a static cache. LLM_BUDGET seconds (120).
What is not installed, or fails, is named in a line, and the rest goes on. --tiny: small, and on the CPU where there is
no GPU, to see that it runs."""
import json
import os
import statistics
import sys
import time

TINY = "--tiny" in sys.argv
END = time.monotonic() + float(os.environ.get("LLM_BUDGET", "120"))
DIM, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS, VOCAB = 4096, 32, 8, 128, 14336, 32, 128256
CONTEXT, BATCHES, PROMPTS = 1024, (1, 8, 32, 128, 256), (2048, 8192)
if TINY:
    DIM, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS, VOCAB = 128, 4, 2, 32, 256, 2, 300
    CONTEXT, BATCHES, PROMPTS = 24, (1, 3), (16,)

try:
    import torch
except ImportError as e:
    print(f"ok peers # SKIP {e}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)
try:
    import triton
    from triton import language as tl
except ImportError:
    triton = None
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
if not CUDA and not TINY:
    print("ok peers # SKIP torch sees no GPU")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)
GPU = torch.cuda.get_device_name() if CUDA else "none"


def wait():
    if CUDA:
        torch.cuda.synchronize()


def measure(run, copies=1, inner=20, runs=5):
    """Microseconds of run(i), i < copies: weights that L2 does not hold. Where it can be, as a graph."""
    run(0)
    wait()
    work = lambda: [run(i % copies) for i in range(inner)]
    if CUDA:
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work()
            work = graph.replay
        except RuntimeError:
            wait()
    work()
    wait()
    us = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        wait()
        us.append((time.perf_counter() - begin) * 1e6 / inner)
    return us


def tell(peer, kernel, shape, us, rows=0):
    line = {"t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": os.environ.get("LLM_COMMIT", ""), "gpu": GPU,
            "peer": peer, "kernel": kernel, "fmt": "bf16", "shape": shape, "us": round(statistics.median(us), 2),
            "us_min": round(min(us), 2), "us_max": round(max(us), 2), "n": len(us)}
    if rows:
        line["tokens_s"] = round(rows * 1e6 / line["us"], 1)
    print(json.dumps(line, separators=(",", ":")), flush=True)


def noise(*size):
    return torch.randn(*size, device=DEVICE, dtype=torch.bfloat16) * 0.02


PRODUCTS = ((KV_HEADS * 2 * HEAD_DIM + HEADS * HEAD_DIM, DIM), (DIM, HEADS * HEAD_DIM), (2 * FFN, DIM), (DIM, FFN), (VOCAB, DIM))


def products():
    for n, k in PRODUCTS:
        copies = min(20, (256 << 20) // (n * k * 2) + 1)
        w = [noise(n, k) for _ in range(copies)]
        for t in BATCHES + PROMPTS:
            x = noise(t, k)
            y = torch.empty(t, n, device=DEVICE, dtype=torch.bfloat16)
            tell("torch.mm", "gemm", {"n": n, "k": k, "t": t}, measure(lambda i: torch.mm(x, w[i].t(), out=y), copies))


def attention():
    sdpa = torch.nn.functional.scaled_dot_product_attention
    for b in BATCHES:
        copies = min(20, (256 << 20) // (b * CONTEXT * KV_HEADS * HEAD_DIM * 4) + 1)
        q = noise(b, HEADS, 1, HEAD_DIM)
        kv = [(noise(b, KV_HEADS, CONTEXT, HEAD_DIM), noise(b, KV_HEADS, CONTEXT, HEAD_DIM)) for _ in range(copies)]
        tell("sdpa", "attention_decode", {"b": b, "t": 1, "context": CONTEXT},
             measure(lambda i: sdpa(q, *kv[i], enable_gqa=True), copies))
    for t in PROMPTS:
        q, k, v = noise(1, HEADS, t, HEAD_DIM), noise(1, KV_HEADS, t, HEAD_DIM), noise(1, KV_HEADS, t, HEAD_DIM)
        tell("sdpa", "attention_prefill", {"b": 1, "t": t, "context": t},
             measure(lambda i: sdpa(q, k, v, is_causal=True, enable_gqa=True)))


if triton:
    @triton.jit
    def triton_product(x, w, y, t, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
        """y[t, n] = x[t, k] w[n, k]^T, a program for M x N of it, K at a time."""
        row = tl.program_id(0) * M + tl.arange(0, M)
        col = tl.program_id(1) * N + tl.arange(0, N)
        at = tl.arange(0, K)
        acc = tl.zeros((M, N), dtype=tl.float32)
        for first in range(0, k, K):
            a = tl.load(x + row[:, None] * k + first + at[None, :], mask=row[:, None] < t, other=0.0)
            b = tl.load(w + col[None, :] * k + first + at[:, None], mask=col[None, :] < n, other=0.0)
            acc = tl.dot(a, b, acc)
        tl.store(y + row[:, None] * n + col[None, :], acc.to(tl.bfloat16), mask=(row[:, None] < t) & (col[None, :] < n))


def triton_products():
    if not triton or not CUDA:
        raise RuntimeError("Triton and a GPU are wanted")
    for n, k in PRODUCTS[:4]:
        w = noise(n, k)
        for t in (8, 128, 2048):
            x, y = noise(t, k), torch.empty(t, n, device=DEVICE, dtype=torch.bfloat16)
            m = 128 if t > 64 else 16
            grid = ((t + m - 1) // m, (n + 127) // 128)
            tell("triton", "gemm", {"n": n, "k": k, "t": t},
                 measure(lambda i: triton_product[grid](x, w, y, t, n, k, m, 128, 64, num_warps=8 if t > 64 else 4, num_stages=3)))


def steps():
    from transformers import LlamaConfig, LlamaForCausalLM, StaticCache
    config = LlamaConfig(hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
                         head_dim=HEAD_DIM, intermediate_size=FFN, vocab_size=VOCAB, max_position_embeddings=PROMPTS[-1] + 64,
                         rope_theta=500000.0, attn_implementation="sdpa")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = LlamaForCausalLM(config).eval()
    with torch.inference_mode():
        for b in BATCHES:
            cache = StaticCache(config=config, max_cache_len=CONTEXT + 32)
            ids = torch.full((b, 1), 7, device=DEVICE)
            us = []
            for step in range(12):
                at = torch.tensor([CONTEXT + step], device=DEVICE)
                begin = time.perf_counter()
                model(ids, past_key_values=cache, position_ids=at[None].expand(b, 1), cache_position=at,
                      use_cache=True).logits.argmax(-1)
                wait()
                us.append((time.perf_counter() - begin) * 1e6)
            tell("transformers", "step_decode", {"b": b, "context": CONTEXT}, us[3:], b)
            del cache
            if time.monotonic() > END:
                return
        for t in PROMPTS:
            ids = torch.arange(t, device=DEVICE)[None] % VOCAB
            us = []
            for _ in range(4):
                begin = time.perf_counter()
                model(ids, use_cache=True, logits_to_keep=1).logits.argmax(-1)
                wait()
                us.append((time.perf_counter() - begin) * 1e6)
            tell("transformers", "step_prefill", {"t": t}, us[1:], t)


count = {"ok": 0, "skip": 0}
for part in (products, attention, steps, triton_products):
    name = f"peers_{part.__name__}"
    if time.monotonic() > END:
        print(f"ok {name} # SKIP the time is over")
        count["skip"] += 1
        continue
    try:
        part()
        print(f"ok {name}", flush=True)
        count["ok"] += 1
    except Exception as e:  # noqa: BLE001 - a peer that fails is no fault of ours
        print(f"ok {name} # SKIP {type(e).__name__}: {str(e).splitlines()[0][:150] if str(e) else ''}", flush=True)
        count["skip"] += 1
print(f"{count['ok']} passed, 0 failed, {count['skip']} skipped")
