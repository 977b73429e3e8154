#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the quantized checkpoints of tests/model/quantized.h must give.

    make_quantized.py            golden.json beside this file, FP8, INT4 and INT8 of ../quant

Needs numpy and ml_dtypes (made with 2.4.6 and 0.6.0).  The checkpoints are not kept: their bytes
are a stream that the name of a tensor seeds, made here and by the test alike.  What they mean is written down
here a second time, after the code of those who make such files (AutoGPTQ, AutoAWQ, compressed-tensors, DeepSeek),
and the model is computed in float64.

golden.json: `hash`: BLAKE2b-128 over the F32 numbers of all matrices, layer by layer, q k v o gate up down;
`logits`: of the last of `ids`.
"""
import hashlib, json, os
import numpy as np
from ml_dtypes import float8_e4m3fn

HERE = os.path.dirname(os.path.abspath(__file__))
DIM, FFN, HEADS, KV, HEAD, LAYERS, VOCAB, EPS, THETA = 256, 384, 4, 1, 64, 2, 96, 1e-5, 10000.0
MATRICES = [("self_attn.q_proj", HEADS * HEAD, DIM), ("self_attn.k_proj", KV * HEAD, DIM), ("self_attn.v_proj", KV * HEAD, DIM),
            ("self_attn.o_proj", DIM, HEADS * HEAD), ("mlp.gate_proj", FFN, DIM), ("mlp.up_proj", FFN, DIM), ("mlp.down_proj", DIM, FFN)]
IDS = [(7 * i * i + 3 * i + 1) % VOCAB for i in range(40)]
FORMS = ["fp8-tensor", "fp8-block", "fp8-channel", "fbgemm", "gptq", "gptq-v2-row", "awq", "packed", "packed-zeros", "int8", "int8-tensor", "plain"]


def stream(name, n):
    """n bytes of splitmix64, seeded with the FNV-1a of the name."""
    seed = 0xCBF29CE484222325
    for c in name.encode():
        seed = (seed ^ c) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange((n + 7) // 8, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z.astype("<u8").view(np.uint8)[:n]


def small(name, shape, divisor, base=0.0):
    return base + stream(name, int(np.prod(shape))).view(np.int8).reshape(shape).astype(np.float64) / divisor


def scale(name, shape, places):
    return ((64 + stream(name, int(np.prod(shape))) % 64).astype(np.float32) * np.float32(2.0**-places)).reshape(shape)


def words(name, shape):
    return stream(name, 4 * shape[0] * shape[1]).view("<i4").reshape(shape)


def e4m3(name, shape):
    b = stream(name, shape[0] * shape[1]).copy()
    b[(b & 0x7F) == 0x7F] &= 0x80
    return b.view(float8_e4m3fn).astype(np.float32).reshape(shape)


SHIFTS = np.arange(0, 32, 4, dtype=np.int32)


def gptq(x, N, K, group, plus):
    q = (words(x + ".qweight", (K // 8, N))[:, None, :] >> SHIFTS[None, :, None] & 15).reshape(K, N)
    z = (words(x + ".qzeros", (K // group, N // 8))[:, :, None] >> SHIFTS & 15).reshape(K // group, N) + plus
    s = scale(x + ".scales", (K // group, N), 13)
    g = np.arange(K) // group
    return (s[g] * (q - z[g]).astype(np.float32)).T


def awq(x, N, K, group):
    def unpack(w):
        v = (w[:, :, None] >> SHIFTS & 15).reshape(w.shape[0], -1)
        order = np.arange(v.shape[1]).reshape(-1, 8)[:, [0, 4, 1, 5, 2, 6, 3, 7]].reshape(-1)
        return v[:, order]
    q = unpack(words(x + ".qweight", (K, N // 8)))
    z = unpack(words(x + ".qzeros", (K // group, N // 8)))
    s = scale(x + ".scales", (K // group, N), 13)
    return (s.repeat(group, 0) * (q - z.repeat(group, 0)).astype(np.float32)).T


def packed(x, N, K, group, zeros):
    q = (words(x + ".weight_packed", (N, K // 8))[:, :, None] >> SHIFTS & 15).reshape(N, K) - 8
    z = np.zeros((N, K // group), np.int64)
    if zeros:
        z = (words(x + ".weight_zero_point", (N // 8, K // group))[:, None, :] >> SHIFTS[None, :, None] & 15).reshape(N, K // group) - 8
    s = scale(x + ".weight_scale", (N, K // group), 13)
    return s.repeat(group, 1) * (q - z.repeat(group, 1)).astype(np.float32)


def fp8(x, N, K, form):
    w = e4m3(x + ".weight", (N, K))
    if form == "fp8-tensor":
        return w * scale(x + ".weight_scale", (1,), 17)
    if form == "fp8-block":
        s = scale(x + ".weight_scale_inv", ((N + 127) // 128, K // 128), 17)
        return w * s.repeat(128, 0)[:N].repeat(128, 1)
    return w * scale(x + ".weight_scale", (N, 1), 17)


def int8(x, N, K, shape):
    return stream(x + ".weight", N * K).view(np.int8).reshape(N, K).astype(np.float32) * scale(x + ".weight_scale", shape, 17)


def matrix(form, base, N, K):
    x = f"{form}/{base}"
    if form.startswith("int8"):
        return int8(x, N, K, (N, 1) if form == "int8" else (1,))
    if form == "plain":
        return small(x + ".weight", (N, K), 1024)
    if form == "gptq":
        return gptq(x, N, K, 128, 1)
    if form == "gptq-v2-row":
        return gptq(x, N, K, K, 0)
    if form == "awq":
        return awq(x, N, K, 128)
    if form.startswith("packed"):
        return packed(x, N, K, 128, form == "packed-zeros")
    return fp8(x, N, K, form)


def rms(x, g):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * g


def forward(form, w):
    n = len(IDS)
    a = np.outer(np.arange(n), THETA ** (-np.arange(0, HEAD, 2) / HEAD))
    cos, sin = np.cos(a)[:, None], np.sin(a)[:, None]

    def rope(x):
        p, q = x[..., :HEAD // 2], x[..., HEAD // 2:]
        return np.concatenate([p * cos - q * sin, q * cos + p * sin], -1)

    def norm(name):
        return small(f"{form}/{name}", (DIM,), 512, 1.0)

    h = small(f"{form}/model.embed_tokens.weight", (VOCAB, DIM), 64)[IDS]
    for l in range(LAYERS):
        p = f"model.layers.{l}."
        lin = lambda x, m: x @ w[p + m].astype(np.float64).T
        x = rms(h, norm(p + "input_layernorm.weight"))
        q = rope(lin(x, "self_attn.q_proj").reshape(n, HEADS, HEAD))
        k = np.repeat(rope(lin(x, "self_attn.k_proj").reshape(n, KV, HEAD)), HEADS // KV, 1)
        v = np.repeat(lin(x, "self_attn.v_proj").reshape(n, KV, HEAD), HEADS // KV, 1)
        s = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(HEAD)
        s = np.where(np.tri(n, dtype=bool), s, -np.inf)
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        h = h + lin(np.einsum("hij,jhd->ihd", s, v).reshape(n, -1), "self_attn.o_proj")
        x = rms(h, norm(p + "post_attention_layernorm.weight"))
        g = lin(x, "mlp.gate_proj")
        h = h + lin(g / (1 + np.exp(-g)) * lin(x, "mlp.up_proj"), "mlp.down_proj")
    return rms(h[-1], norm("model.norm.weight")) @ small(f"{form}/lm_head.weight", (VOCAB, DIM), 256).T


def blocks():
    """FP8 and INT4 blocks, and a row of INT8, as kernels/formats.h has them, and their numbers."""
    out = os.path.join(HERE, "..", "quant")
    n = 12
    s = np.array([0.0123, -0.0371, 1.0, 0.0, 1e-20, 3e5, 2**-126, 0.25, 0.0009, 1 / 3, -0.0, 65504], np.float32)
    c = stream("fp8 blocks", n * 128).reshape(n, 128).copy()
    c[0] = np.arange(128)
    c[1] = np.arange(128) + 128
    c[(c & 0x7F) == 0x7F] &= 0x80
    np.concatenate([s.view(np.uint8).reshape(n, 4), c], 1).tofile(os.path.join(out, "FP8.bin"))
    (c.view(float8_e4m3fn).astype(np.float32) * s[:, None]).astype("<f4").tofile(os.path.join(out, "FP8.f32.bin"))
    s = np.array([0.0123, 0.0371, 1.0, 0.0, 2**-24, 65504, 2**-14, 0.25, 0.0009, 1 / 3, 0.1, 3], np.float16).astype(np.float32)
    z = np.array([0, 16, 8, 8, 1, 15, 7, 3, 9, 12, 4, 10], np.uint8)
    c = stream("int4 blocks", n * 64).reshape(n, 64)
    head = np.concatenate([s.view(np.uint8).reshape(n, 4), z[:, None], np.zeros((n, 3), np.uint8)], 1)
    np.concatenate([head, c], 1).tofile(os.path.join(out, "INT4.bin"))
    codes = np.stack([c[:, :32] & 15, c[:, :32] >> 4, c[:, 32:] & 15, c[:, 32:] >> 4], 1).reshape(n, 128)
    v = (codes.astype(np.int32) - z[:, None]).astype(np.float64) * s[:, None] + 0.0  # no -0
    v.astype("<f4").tofile(os.path.join(out, "INT4.f32.bin"))
    c = np.concatenate([np.arange(-128, 128), stream("int8 row", 740).view(np.int8)]).astype(np.int8)
    s = np.array([0.0123], np.float32)
    np.concatenate([s.view(np.uint8), c.view(np.uint8)]).tofile(os.path.join(out, "INT8.bin"))
    (c.astype(np.float32) * s).astype("<f4").tofile(os.path.join(out, "INT8.f32.bin"))


def main():
    golden = {"ids": IDS, "models": {}}
    for form in FORMS:
        w, h = {}, hashlib.blake2b(digest_size=16)
        for l in range(LAYERS):
            for m, N, K in MATRICES:
                base = f"model.layers.{l}.{m}"
                w[base] = np.ascontiguousarray(matrix(form, base, N, K), dtype="<f4")
                assert w[base].shape == (N, K)
                h.update(w[base].tobytes())
        logits = forward(form, w)
        print(form, "rms of weights", [round(float(np.sqrt((w[k].astype(np.float64) ** 2).mean())), 3) for k in list(w)[:7]],
              "logits", round(float(logits.std()), 2), "gap", round(float(np.diff(np.sort(logits)[-2:])[0]), 3))
        golden["models"][form] = {"hash": h.hexdigest(), "logits": [float(f"{v:.6g}") for v in logits]}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")
    blocks()


main()
