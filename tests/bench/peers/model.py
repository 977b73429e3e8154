#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""model.py DIR SIZE: a random Llama, as Hugging Face lays it out, in F16, with a
byte-level vocabulary.  SIZE: 110m (768 x 12, 12 heads, 4 KV heads, ffn 2048) or
1b (2048 x 16, 32 heads, 8 KV heads, ffn 8192).  The same each time."""
import json
import random
import struct
import sys

SIZES = {  # dim, layers, heads, kv heads, ffn, vocabulary
    "110m": (768, 12, 12, 4, 2048, 32000),
    "1b": (2048, 16, 32, 8, 8192, 32000),
}
# +-0.008 to 0.031: no denormals, no large ones
HIGH = bytes(b & 0x80 | 0x20 | b & 0x07 for b in range(256))


def tensors(dim, layers, heads, kv, ffn, vocab):
    wide, narrow = dim, dim // heads * kv
    yield "model.embed_tokens.weight", [vocab, dim]
    yield "lm_head.weight", [vocab, dim]
    yield "model.norm.weight", [dim]
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", [dim]
        yield at + "post_attention_layernorm.weight", [dim]
        for name, shape in (("self_attn.q_proj", [wide, dim]), ("self_attn.k_proj", [narrow, dim]),
                            ("self_attn.v_proj", [narrow, dim]), ("self_attn.o_proj", [dim, wide]),
                            ("mlp.gate_proj", [ffn, dim]), ("mlp.up_proj", [ffn, dim]),
                            ("mlp.down_proj", [dim, ffn])):
            yield at + name + ".weight", shape


def count(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def write_weights(path, listed, rnd):
    head, at = {}, 0
    for name, shape in listed:
        size = 2 * count(shape)
        head[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in listed:
            n = count(shape)
            if len(shape) == 1:
                f.write(struct.pack("<e", 1.0) * n)
                continue
            both = bytearray(2 * n)
            both[0::2] = rnd.randbytes(n)
            both[1::2] = rnd.randbytes(n).translate(HIGH)
            f.write(both)


def byte_names():
    """GPT-2's printable names of the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def write_vocabulary(path, vocab):
    names = byte_names()
    words = [names[b] for b in range(256)]
    letters = [names[b] for b in range(97, 123)]
    merges = []
    for depth in range(3):  # pairs of letters, then three, then four of them
        begins = letters if depth == 0 else words[-len(letters) ** (depth + 1):]
        for a in begins:
            for b in letters:
                if len(words) < vocab - 2:
                    words.append(a + b)
                    merges.append([a, b])
    special = [{"id": vocab - 2 + i, "content": s, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True} for i, s in enumerate(("<s>", "</s>"))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    ids = {w: i for i, w in enumerate(words)}
    ids.update((s["content"], s["id"]) for s in special)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"version": "1.0", "added_tokens": special, "normalizer": None,
                   "pre_tokenizer": level, "post_processor": None, "decoder": level,
                   "model": {"type": "BPE", "vocab": ids, "merges": merges}}, f)


def main():
    out, size = sys.argv[1:]
    dim, layers, heads, kv, ffn, vocab = SIZES[size]
    with open(out + "/config.json", "w", encoding="utf-8") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab,
                   "hidden_size": dim, "intermediate_size": ffn, "num_hidden_layers": layers,
                   "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": dim // heads,
                   "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float16",
                   "bos_token_id": vocab - 2, "eos_token_id": vocab - 1}, f)
    write_vocabulary(out + "/tokenizer.json", vocab)
    write_weights(out + "/model.safetensors", list(tensors(*SIZES[size])), random.Random(1))


main()
