#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train a small Llama-architecture model; CPU and CUDA alike.  Reads what prepare.py wrote.

    train.py --data DIR --out MODEL_DIR --preset main|draft|gpu30m --minutes 30 [--threads 1]

The data directory holds lm.bin, task.bin (uint16 tokens), task.idx, val.bin, tokenizer.json, meta.json.
A step takes `batch` rows of `ctx` tokens: a share `--task-share` of rows are packed task records (each row
starts at a record's beginning, records follow each other in random order), the rest windows of plain text.
Muon for the hidden matrices, AdamW for embeddings and norms; warm-up, stable, then linear decay
over the last `--decay` of the budget (WSD), the budget being wall-clock minutes or --steps.
Writes config.json, generation_config.json, model.safetensors (F16 or BF16), tokenizer files, train_log.json.
"""
import argparse, json, math, os, shutil, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

PRESETS = dict(  # hidden, layers, heads, kv heads, head dim, ffn
    nano=(192, 3, 3, 1, 64, 512), main4=(256, 4, 4, 2, 64, 704), main=(256, 7, 4, 2, 64, 704),
    draft=(128, 1, 2, 1, 64, 384), gpu30m=(512, 10, 8, 4, 64, 1408))

class Attn(nn.Module):
    def __init__(s, d, h, kv, hd):
        super().__init__(); s.h, s.kv, s.hd = h, kv, hd
        s.q_proj, s.k_proj = nn.Linear(d, h*hd, bias=False), nn.Linear(d, kv*hd, bias=False)
        s.v_proj, s.o_proj = nn.Linear(d, kv*hd, bias=False), nn.Linear(h*hd, d, bias=False)
    def forward(s, x, cos, sin):
        B, T, _ = x.shape
        q = s.q_proj(x).view(B, T, s.h, s.hd).transpose(1, 2)
        k = s.k_proj(x).view(B, T, s.kv, s.hd).transpose(1, 2)
        v = s.v_proj(x).view(B, T, s.kv, s.hd).transpose(1, 2)
        rot = lambda t: t*cos + torch.cat((-t[..., s.hd//2:], t[..., :s.hd//2]), -1)*sin   # HF half-split RoPE
        q, k = rot(q), rot(k); r = s.h // s.kv
        k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return s.o_proj(y.transpose(1, 2).reshape(B, T, -1))

class Mlp(nn.Module):
    def __init__(s, d, f):
        super().__init__()
        s.gate_proj, s.up_proj, s.down_proj = nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False), nn.Linear(f, d, bias=False)
    def forward(s, x): return s.down_proj(F.silu(s.gate_proj(x)) * s.up_proj(x))

class Rms(nn.Module):
    def __init__(s, d, eps=1e-5): super().__init__(); s.weight, s.eps = nn.Parameter(torch.ones(d)), eps
    def forward(s, x): return s.weight * (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + s.eps)).to(x.dtype)

class Block(nn.Module):
    def __init__(s, d, h, kv, hd, f):
        super().__init__(); s.self_attn, s.mlp = Attn(d, h, kv, hd), Mlp(d, f)
        s.input_layernorm, s.post_attention_layernorm = Rms(d), Rms(d)
    def forward(s, x, c, n):
        x = x + s.self_attn(s.input_layernorm(x), c, n)
        return x + s.mlp(s.post_attention_layernorm(x))

class Llama(nn.Module):          # parameter names are Hugging Face's, less the leading "model."
    def __init__(s, vocab, d, L, h, kv, hd, f, theta, ctx):
        super().__init__()
        s.embed_tokens, s.layers, s.norm = nn.Embedding(vocab, d), nn.ModuleList(Block(d, h, kv, hd, f) for _ in range(L)), Rms(d)
        a = torch.outer(torch.arange(ctx).float(), theta ** (-torch.arange(0, hd, 2).float()/hd)); a = torch.cat((a, a), -1)
        s.register_buffer('cos', a.cos(), persistent=False); s.register_buffer('sin', a.sin(), persistent=False)
        nn.init.normal_(s.embed_tokens.weight, std=d**-0.5)
        for n, p in s.named_parameters():
            if p.ndim == 2 and 'embed' not in n:
                nn.init.normal_(p, std=(0.5 if ('o_proj' in n or 'down_proj' in n) else 1.0) * p.shape[1]**-0.5)
    def forward(s, x, y=None):
        T = x.shape[1]; e = s.embed_tokens(x)
        for b in s.layers: e = b(e, s.cos[:T].to(e.dtype), s.sin[:T].to(e.dtype))
        e = s.norm(e)
        logits = e @ s.embed_tokens.weight.to(e.dtype).T
        if y is None: return logits
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), y.reshape(-1), ignore_index=-100)

def ns5(g):                      # Newton-Schulz orthogonalisation, quintic
    x = g.bfloat16() if g.is_cuda else g.float()
    t = x.shape[-2] > x.shape[-1]
    if t: x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        A = x @ x.mT; x = 3.4445*x + (-4.7750*A + 2.0315*A@A) @ x
    return (x.mT if t else x).float()

class Muon:
    def __init__(s, params, lr, mom=0.95, wd=0.0):
        s.groups = {}
        for p in params: s.groups.setdefault(tuple(p.shape), []).append(p)
        s.buf = {id(p): torch.zeros_like(p) for p in params}; s.lr, s.mom, s.wd = lr, mom, wd
    @torch.no_grad()
    def step(s, scale):
        for shape, ps in s.groups.items():
            g = []
            for p in ps:
                b = s.buf[id(p)]; b.lerp_(p.grad, 1-s.mom); g.append(p.grad.lerp(b, s.mom))
            u = ns5(torch.stack(g)) * max(1, shape[0]/shape[1])**0.5
            for p, w in zip(ps, u):
                if s.wd: p.mul_(1 - s.lr*scale*s.wd)
                p.add_(w.to(p.dtype), alpha=-s.lr*scale)
                p.grad = None

class Data:
    def __init__(s, d, ctx, dev, seed):
        s.lm, s.task = np.memmap(f'{d}/lm.bin', np.uint16, 'r'), np.fromfile(f'{d}/task.bin', np.uint16)
        s.idx, s.w = np.fromfile(f'{d}/task.idx', np.int64), np.fromfile(f'{d}/task.w', np.float32)
        s.val = np.fromfile(f'{d}/val.bin', np.uint16)
        s.ctx, s.dev, s.rng, s.q, s.left = ctx, dev, np.random.default_rng(seed), [], np.zeros(0, np.uint16)
        s.epoch = 0
    def order(s):                # an epoch: every record w times on average
        n = np.floor(s.w + s.rng.random(len(s.w))).astype(int)
        o = np.repeat(np.arange(len(s.w)), n); s.rng.shuffle(o); s.epoch += 1
        return list(o)
    def task_row(s):
        parts, got = [], 0
        while got < s.ctx + 1:
            if not s.q: s.q = s.order()
            r = s.q.pop(); t = s.task[s.idx[r]:s.idx[r+1]]; parts.append(t); got += len(t)
        return np.concatenate(parts)[:s.ctx+1]
    def batch(s, B, share):
        rows = []
        for i in range(B):
            if s.rng.random() < share: rows.append(s.task_row())
            else:
                o = s.rng.integers(0, len(s.lm) - s.ctx - 1); rows.append(np.asarray(s.lm[o:o+s.ctx+1]))
        t = torch.from_numpy(np.stack(rows).astype(np.int64)).to(s.dev, non_blocking=True)
        return t[:, :-1], t[:, 1:]

@torch.no_grad()
def val_loss(model, data, meta, maxrows, amp):
    model.eval(); n = min(maxrows, (len(data.val)-1)//data.ctx); tot = 0
    for i in range(0, n, 8):
        k = min(8, n-i)
        t = np.stack([data.val[j*data.ctx:(j+1)*data.ctx+1] for j in range(i, i+k)]).astype(np.int64)
        t = torch.from_numpy(t).to(data.dev)
        with amp: tot += model(t[:, :-1], t[:, 1:]).item()*k
    model.train()
    nats = tot/max(n, 1)
    return nats, nats/math.log(2)/meta['val_bytes_per_token']

def save(model, a, cfg, out, dtype):
    from safetensors.torch import save_file
    d, L, h, kv, hd, f, vocab, theta, maxpos = cfg; os.makedirs(out, exist_ok=True)
    sd = {'model.'+k.replace('_orig_mod.', ''): v.detach().to('cpu', dtype).contiguous() for k, v in model.state_dict().items()}
    save_file(sd, f'{out}/model.safetensors', metadata={'format': 'pt'})
    os.chmod(f'{out}/model.safetensors', 0o644)
    meta = json.load(open(f'{a.data}/meta.json')); sp = meta['special']
    name = {torch.float16: 'float16', torch.bfloat16: 'bfloat16', torch.float32: 'float32'}[dtype]
    json.dump(dict(architectures=['LlamaForCausalLM'], model_type='llama', vocab_size=vocab, hidden_size=d, intermediate_size=f,
        num_hidden_layers=L, num_attention_heads=h, num_key_value_heads=kv, head_dim=hd, hidden_act='silu', max_position_embeddings=maxpos,
        rms_norm_eps=1e-5, rope_theta=theta, rope_scaling=None, tie_word_embeddings=True, attention_bias=False, mlp_bias=False,
        bos_token_id=sp['<|begin|>'], eos_token_id=sp['<|end|>'], pad_token_id=None, torch_dtype=name, use_cache=True),
        open(f'{out}/config.json', 'w'), indent=1)
    json.dump(dict(bos_token_id=sp['<|begin|>'], eos_token_id=[sp['<|end|>']], do_sample=False, max_new_tokens=256),
        open(f'{out}/generation_config.json', 'w'), indent=1)
    for n in ('tokenizer.json', 'tokenizer_config.json'): shutil.copy(f'{a.data}/{n}', f'{out}/{n}')

def main():
    ap = argparse.ArgumentParser()
    A = ap.add_argument
    A('--data', required=True); A('--out', required=True); A('--preset', default='main', choices=PRESETS)
    A('--minutes', type=float, default=30); A('--steps', type=int, default=0); A('--threads', type=int, default=1)
    A('--batch', type=int, default=16); A('--ctx', type=int, default=256); A('--task-share', type=float, default=0.8)
    A('--lr', type=float, default=0.02, help='Muon, hidden matrices'); A('--lr-embed', type=float, default=3e-3)
    A('--wd', type=float, default=0.01); A('--warmup', type=int, default=50); A('--decay', type=float, default=0.35)
    A('--theta', type=float, default=10000.0); A('--max-pos', type=int, default=1024)
    A('--dtype', default='f16', choices=['f16', 'bf16', 'f32']); A('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    A('--compile', action='store_true'); A('--answers-only', action='store_true'); A('--seed', type=int, default=1); A('--init'); A('--eval-every', type=float, default=120)
    a = ap.parse_args()
    torch.set_num_threads(a.threads); torch.manual_seed(a.seed)
    dev = a.device; cuda = dev.startswith('cuda'); meta = json.load(open(f'{a.data}/meta.json'))
    d, L, h, kv, hd, f = PRESETS[a.preset]; vocab = meta['vocab']
    model = Llama(vocab, d, L, h, kv, hd, f, a.theta, max(a.ctx, a.max_pos)).to(dev)
    if a.init:
        from safetensors.torch import load_file
        model.load_state_dict({k[6:]: v.float() for k, v in load_file(f'{a.init}/model.safetensors').items()})
    cfg = (d, L, h, kv, hd, f, vocab, a.theta, a.max_pos)
    np_ = sum(p.numel() for p in model.parameters()); print(f'{np_/1e6:.2f}M parameters, vocab {vocab}, {dev}', flush=True)
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and 'embed' not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or 'embed' in n]
    mu, ad = Muon(hidden, a.lr, wd=a.wd), torch.optim.AdamW(rest, lr=a.lr_embed, betas=(0.9, 0.95), weight_decay=0.0, fused=cuda)
    run = torch.compile(model) if a.compile else model
    U, S = meta['special']['<|user|>'], meta['special']['<|assistant|>']
    amp = torch.autocast('cuda', torch.bfloat16) if cuda else torch.autocast('cpu', enabled=False)
    data = Data(a.data, a.ctx, dev, a.seed); log, t0, last, step, ema = [], time.time(), 0.0, 0, None
    if cuda: torch.set_float32_matmul_precision('high')
    while True:
        el = time.time() - t0
        frac = step/a.steps if a.steps else el/(a.minutes*60)
        if frac >= 1: break
        scale = min(1, (step+1)/a.warmup) * min(1, max(0.02, (1-frac)/a.decay))
        x, y = data.batch(a.batch, a.task_share)
        if a.answers_only:                                  # no loss on the words of a question
            y = y.masked_fill((x == U).cumsum(1) > (x == S).cumsum(1), -100)
        with amp: loss = run(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        mu.step(scale)
        for g in ad.param_groups: g['lr'] = a.lr_embed*scale
        ad.step(); ad.zero_grad(set_to_none=True); step += 1
        if step % 10 == 0 or step < 3:
            v = loss.item(); ema = v if ema is None else 0.8*ema + 0.2*v
            if step % 50 == 0 or step < 3:
                tk = step*a.batch*a.ctx
                print(f'step {step} loss {ema:.3f} epoch {data.epoch} {tk/1e6:.3f}M tok {tk/(time.time()-t0):.0f} tok/s {el:.0f}s', flush=True)
        if el - last > a.eval_every:
            last = el; nats, bpb = val_loss(run, data, meta, 24, amp)
            log.append(dict(step=step, s=round(el), tokens=step*a.batch*a.ctx, train=round(ema, 4), val_nats=round(nats, 4), val_bpb=round(bpb, 4), epoch=data.epoch))
            print('  eval', log[-1], flush=True)
            save(model, a, cfg, a.out, dict(f16=torch.float16, bf16=torch.bfloat16, f32=torch.float32)[a.dtype])
    nats, bpb = val_loss(run, data, meta, 100, amp)
    log.append(dict(step=step, s=round(time.time()-t0), tokens=step*a.batch*a.ctx, train=ema, val_nats=round(nats, 4), val_bpb=round(bpb, 4), epoch=data.epoch, final=True))
    print('  final', log[-1], flush=True)
    save(model, a, cfg, a.out, dict(f16=torch.float16, bf16=torch.bfloat16, f32=torch.float32)[a.dtype])
    json.dump(dict(args=vars(a), parameters=np_, log=log), open(f'{a.out}/train_log.json', 'w'), indent=1)

if __name__ == '__main__': main()
