#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Greedy answers to held-out wordings, through transformers' LlamaForCausalLM; exact match and right command.

    evaluate.py --model MODEL_DIR --data DATA [--n 200] [--samples] [--draft DRAFT_DIR] [--top 300]

With --draft: the share of main's greedy tokens that the draft, fed the same text, also ranks first, and the
tokens a verification step yields with K drafted tokens (K = 2, 4).
"""
import argparse, json, random, time
from collections import defaultdict
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

ASK = ['man ls', 'what does grep do?', 'which command can list directory contents?', 'how do I change the owner of a file?', 'what does tar -x do?',
       'how do I copy files?', 'man kill', 'what is systemd?', 'which command shows free memory?', 'man frobnix', 'apropos compress files', 'what does sort -r do?']

def main():
    ap = argparse.ArgumentParser(); A = ap.add_argument
    A('--model', required=True); A('--data'); A('--n', type=int, default=200); A('--top', type=int, default=10**9)
    A('--samples', action='store_true'); A('--draft'); A('--threads', type=int, default=1); A('--ask', nargs='*'); A('--max-new', type=int, default=220)
    a = ap.parse_args(); torch.set_num_threads(a.threads); torch.manual_seed(0)
    tok = PreTrainedTokenizerFast.from_pretrained(a.model)
    m = LlamaForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    B, E, U, S = (tok.convert_tokens_to_ids(x) for x in ('<|begin|>', '<|end|>', '<|user|>', '<|assistant|>'))
    enc = lambda q: [B, U] + tok(q, add_special_tokens=False)['input_ids'] + [S]
    @torch.no_grad()
    def gen(qs, n):
        out = []
        for i in range(0, len(qs), 32):
            ids = [enc(q) for q in qs[i:i+32]]; w = max(map(len, ids))
            x = torch.tensor([[E]*(w-len(t)) + t for t in ids]); am = torch.tensor([[0]*(w-len(t)) + [1]*len(t) for t in ids])
            y = m.generate(input_ids=x, attention_mask=am, max_new_tokens=n, do_sample=False, eos_token_id=E, pad_token_id=E)
            out += [tok.decode(t, skip_special_tokens=True) for t in y[:, w:]]
        return out
    if a.ask is not None or a.samples:
        for q in (a.ask or ASK): print(f'> {q}\n{gen([q], a.max_new)[0]}\n')
    if a.data and a.n:
        ev = defaultdict(list)
        for l in open(f'{a.data}/eval.jsonl'):
            e = json.loads(l)
            if e['rank'] < a.top: ev[e['kind']].append(e)
        r = random.Random(7)
        for k, es in ev.items():
            es = r.sample(es, min(a.n, len(es))); t = time.time(); out = gen([e['q'] for e in es], 60)
            ex = sum(o.strip() == e['a'] for o, e in zip(out, es))/len(es)
            nm = sum((o.split(' - ')[0].strip() == e['name']) if k in ('whatis', 'apropos') else (o.strip() == e['a'] if k == 'unknown' else o.split(': ')[0] == e['a'].split(': ')[0]) for o, e in zip(out, es))/len(es)
            print(f'{k:8s} n={len(es):4d} exact {ex:.3f} name {nm:.3f}  ({time.time()-t:.0f}s)', flush=True)
            for e, o in list(zip(es, out))[:3]: print(f'     {e["q"]!r} -> {o!r} (want {e["a"]!r})')
    if a.draft:
        d = LlamaForCausalLM.from_pretrained(a.draft, dtype=torch.float32).eval()
        ev = [json.loads(l) for l in open(f'{a.data}/eval.jsonl')]; r = random.Random(3); r.shuffle(ev); qs = [e['q'] for e in ev if e['rank'] < a.top][:60] + ASK
        hits = []
        with torch.no_grad():
            for q in qs:
                p = enc(q); y = m.generate(input_ids=torch.tensor([p]), attention_mask=torch.ones(1, len(p), dtype=torch.long), max_new_tokens=120, do_sample=False, eos_token_id=E, pad_token_id=E)
                g = d(y).logits[0].argmax(-1)[len(p)-1:-1]; hits.append((g == y[0, len(p):]).int().tolist())
        al = [x for h in hits for x in h]; print(f'draft agrees on {sum(al)/len(al):.3f} of {len(al)} tokens')
        for K in (2, 4):
            steps = toks = 0
            for h in hits:
                i = 0
                while i < len(h):
                    k = 0
                    while k < K and i+k < len(h) and h[i+k]: k += 1
                    i += k + 1; steps += 1
                toks += len(h)
            print(f'  K={K}: {toks/steps:.2f} tokens a verification step')

if __name__ == '__main__': main()
