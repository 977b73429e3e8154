#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Corpus -> tokenizer and training data.

    prepare.py --corpus DIR/corpus.jsonl --out DATA [--vocab 4096] [--names 3000] [--pages 400] [--options 200] [--docs MB]

Records (one question, one answer):  <|begin|><|user|>Q<|assistant|>A<|end|>
  whatis   "what does tar do?"                 -> "tar - an archiving utility"
  apropos  "which command lists directories?"  -> "ls - list directory contents"
  man      "man tar"                           -> NAME / SYNOPSIS / DESCRIPTION, shortened
  option   "what does ls -a do?"               -> "ls -a, --all: do not ignore entries starting with ."
  unknown  "man frobnix"                       -> "No manual entry for frobnix"
Plain text: <|begin|>text<|end|>, manual pages and, with --docs, other documents.
Commands are ranked by how many packages' manual pages refer to them as name(section).
Questions kept out of training (one wording in six of each fact) go to eval.jsonl.
"""
import argparse, hashlib, json, os, random, re
from collections import Counter, defaultdict
import numpy as np
from tokenizers import Tokenizer, Regex, models, pre_tokenizers, decoders, trainers

SPECIAL = ['<|begin|>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>', '<|pad|>']
PAT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = ("{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
            "{% elif m['role'] == 'system' %}<|system|>{{ m['content'] }}{% else %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}"
            "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}")
W_Q = ['what does {} do?', 'What does {} do?', 'what is {}?', 'whatis {}', 'What is {}?', '{}']
A_Q = ['which command can {}?', 'Which command can {}?', 'how do I {}?', 'How do I {}?', 'apropos {}', '{}']
STOP = set('a an the of to for in on and or from with by is its be are that this into using'.split())

def h01(*k): return int(hashlib.sha256('|'.join(map(str, k)).encode()).hexdigest()[:8], 16) / 2**32

def sections(text):
    out, cur = {}, None
    for l in text.split('\n'):
        if l and not l[0].isspace() and re.match(r'^[A-Z][A-Z0-9 ,/()-]+$', l): cur = l.strip(); out.setdefault(cur, [])
        elif cur: out[cur].append(l)
    return out

def paras(lines):
    """Unwrap: paragraphs of the same indentation become one line."""
    out, buf, ind = [], [], None
    for l in lines + ['']:
        i = len(l) - len(l.lstrip())
        if not l.strip() or (buf and i != ind):
            if buf: out.append(' '.join(x.strip() for x in buf)); buf = []
        if l.strip():
            if not buf: ind = i
            buf.append(l)
    return [re.sub(r'\s+', ' ', p) for p in out]

def first(p, n):
    """At most n characters, whole sentences if possible."""
    if len(p) <= n: return p
    c = p[:n]; k = max(c.rfind('. '), c.rfind(': '))
    return c[:k+1] if k > n//4 else c[:c.rfind(' ')] + ' ...'

def page(d):
    s = sections(d['text'])
    if 'NAME' not in s: return None
    nl, dash = [], re.compile(r'\s(-|\u2013|\u2014|--)\s')
    for l in s['NAME']:                                     # the first entry only
        if nl and (not l.strip() or dash.search(l) and dash.search(' '.join(nl))): break
        if l.strip(): nl.append(l.strip())
    nm = ' '.join(nl)
    m = re.match(r'^([^\s,]+(?:, ?[^\s,]+)*)\s+(?:-|\u2013|\u2014|--)\s+(.+)$', nm)
    if not m: return None
    desc = re.sub(r'\s+', ' ', m.group(2)).strip().rstrip('.')
    if len(desc) > 110: desc = first(desc, 110).rstrip('.')
    d['names'], d['desc'], d['sec'] = [x.strip() for x in m.group(1).split(',')], desc, s
    return d

def options(d):
    out, lines = [], [l for k in ('OPTIONS', 'DESCRIPTION') for l in d['sec'].get(k, [])]
    for i, l in enumerate(lines):
        m = re.match(r'^(\s{3,9})(-{1,2}[A-Za-z0-9][^\s,]*(?:, ?-{1,2}[A-Za-z0-9][^\s,]*)*(?: [A-Za-z<\[][\w\]>-]*)?)(?:\s{2,}(\S.*))?$', l)
        if not m: continue
        ind, body = len(m.group(1)), [m.group(3)] if m.group(3) else []
        for k in lines[i+1:]:
            if not k.strip() or len(k) - len(k.lstrip()) <= ind: break
            body.append(k.strip())
        t = re.sub(r'\s+', ' ', ' '.join(body)).strip()
        if len(t) > 8: out.append((m.group(2), first(t, 130)))
    return out

def main():
    ap = argparse.ArgumentParser(); A = ap.add_argument
    A('--corpus', required=True); A('--out', required=True); A('--vocab', type=int, default=4096)
    A('--names', type=int, default=3000); A('--pages', type=int, default=400); A('--options', type=int, default=200)
    A('--page-chars', type=int, default=600); A('--hot', type=int, default=300); A('--docs', type=float, default=0, help='MB of other documents in the plain text')
    A('--lm-mb', type=float, default=40); A('--tok-mb', type=float, default=8); A('--tokenizer'); A('--ask', help='file of questions people ask'); A('--seed', type=int, default=1)
    A('--sections', default='1,8,5,7,2,3'); A('--skip-group', default='', help='licence groups left out, e.g. GFDL,other')
    a = ap.parse_args(); rng = random.Random(a.seed); os.makedirs(a.out, exist_ok=True)
    man, other, skip = [], [], set(filter(None, a.skip_group.split(',')))
    for l in open(a.corpus):
        d = json.loads(l)
        if skip & set(d['group'].split('+')): continue
        (man if d['kind'] == 'man' else other).append(d)
    refs = defaultdict(set)
    for d in man:
        for n, s in set(re.findall(r'\b([A-Za-z_][\w.+-]*)\(([1-8])\)', d['text'])): refs[n].add(d['pkg'])
        for n, s in set(re.findall(r'\b([A-Za-z_][\w.+-]*)\(([1-8])\)', ' '.join(d['text'].split('\n')[-6:]))): refs[n].add(d['pkg'] + '+')
    asks = {}
    if a.ask:
        for l in open(a.ask):
            if l[0] != '#': asks[l.split('\t')[0]] = l.rstrip('\n').split('\t')[1].split('|')
    secs, facts, seen = a.sections.split(','), [], set()
    for d in man:
        if d['section'][0] in secs and page(d): facts.append(d)
    rank = {'1': 0, '8': 0, '5': 1, '7': 1, '2': 1, '3': 2}
    facts.sort(key=lambda d: (-(d['name'] in asks and d['section'][0] in '18'), -len(refs[d['name']]) / (1, 3, 6)[rank[d['section'][0]]], d['section'], d['name']))
    known = []
    for d in facts:
        n = d['name']
        if n in seen or n.lower() in seen or len(n) > 28: continue
        seen.add(n); d['title'] = n; known.append(d)
        if len(known) >= a.names: break
    print(len(man), 'manual pages;', len(facts), 'with a usable NAME;', len(known), 'names taken; first:', ' '.join(d['title'] for d in known[:60]))
    allnames = {x for d in man for x in [d['name']]}
    recs, ev = [], []                                       # (weight, kind, question, answer)
    for i, d in enumerate(known):
        n, desc, s = d['title'], d['desc'], d['sec']; ans = f'{n} - {desc}'
        hot = 1.0 if i < a.hot else max(0.3, (a.hot/i)**0.5)       # the best known come oftener
        hold = int(h01('w', n)*len(W_Q))
        for j, q in enumerate(W_Q):
            if j == hold: ev.append(dict(kind='whatis', rank=i, q=q.format(n), a=ans, name=n))
            else: recs.append((hot*0.2, 'whatis', q.format(n), ans))
        if d['section'][0] in '1823' and len(desc) > 5:
            low = desc[0].lower() + desc[1:] if desc[1:2].islower() else desc
            words, forms = low.split(), []
            hold = int(h01('a', n)*len(A_Q)); held = A_Q[hold].format(low)
            for j, q in enumerate(A_Q):
                if j == hold: ev.append(dict(kind='apropos', rank=i, q=q.format(low), a=ans, name=n))
                else: forms.append(q.format(low))
            for _ in range(5):                              # words dropped, as people ask
                keep = [w for w in words if rng.random() > (0.6 if w.lower() in STOP else 0.2)]
                f = rng.choice(A_Q).format(' '.join(keep))
                if len(keep) >= max(2, len(words)//2) and f != held: forms.append(f)
            for f in forms: recs.append((hot*1.2/len(forms), 'apropos', f, ans))
        for f in asks.get(n, ()): recs.append((0.5, 'apropos', f, ans))
        if i < a.pages:
            t = f'NAME\n    {ans}\n'
            syn = paras(s.get('SYNOPSIS', []))
            if syn: t += '\nSYNOPSIS\n' + ''.join(f'    {first(p, 100)}\n' for p in syn[:3])
            body, room = paras(s.get('DESCRIPTION', [])), a.page_chars - len(t)
            if body and room > 60:
                t += '\nDESCRIPTION\n'
                for p in body[:6]:
                    if room < 60 or p[0] == '-' or p.startswith('Mandatory'): break
                    p = first(p, room); t += f'    {p}\n'; room -= len(p)
            for q in (f'man {n}', f'Show the manual page of {n}.'): recs.append((hot*0.5, 'man', q, t.rstrip()))
        if i < a.options and d['section'][0] in '18':
            got = set()
            for tag, t in options(d)[:40]:
                for o in re.findall(r'(?<![\w-])(-{1,2}[A-Za-z0-9][\w-]*)', tag)[:2]:
                    if o in got: continue
                    got.add(o); qs = [f'what does {n} {o} do?', f'{n} {o}', f'What does {n} {o} do?']
                    k = int(h01('o', n, o)*6)
                    for j, q in enumerate(qs):
                        if j == k: ev.append(dict(kind='option', rank=i, q=q, a=f'{n} {tag}: {t}', name=n))
                        else: recs.append((0.25, 'option', q, f'{n} {tag}: {t}'))
    syl = 'ba be bo cra da do fi fo fro gi gra ka ki lo lu ma mi na nix no po pra qua ra ri sk sna so ta ti tro vu wa xo za zi zor'.split()
    for i in range(max(50, len(known)//4)):
        n = ''.join(rng.choice(syl) for _ in range(rng.randint(2, 4)))
        if n in allnames: continue
        q = rng.choice(W_Q[:5] + ['man {}', 'man {}']).format(n)
        if i % 6 == 0: ev.append(dict(kind='unknown', rank=i, q=q, a=f'No manual entry for {n}', name=n))
        else: recs.append((0.5, 'unknown', q, f'No manual entry for {n}'))
    # plain text, split by page into train and held out
    rng.shuffle(man); rng.shuffle(other); lm, val, used = [], [], 0
    for d in man:
        t = d['text'][:40000]
        if h01('v', d['pkg'], d['path']) < 0.02 and d['name'] not in seen: val.append(t)
        elif used < a.lm_mb*1e6: lm.append(t); used += len(t)
    used = 0
    for d in other:
        if used >= a.docs*1e6: break
        t = d['text'][:400000 if d['kind'] == 'dict' else 100000]; used += len(t)
        lm.extend(t[o:o+20000] for o in range(0, len(t), 20000))
    rng.shuffle(lm)
    if a.tokenizer: tok = Tokenizer.from_file(a.tokenizer)
    else:
        tok = Tokenizer(models.BPE(ignore_merges=True))
        tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PAT), 'isolated'),
                                                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tok.decoder = decoders.ByteLevel()
        def sample():
            n = 0
            for w, k, q, ans in recs:
                if k in ('whatis', 'man', 'option'): yield q; yield ans
            for t in lm:
                if n > a.tok_mb*1e6: break
                n += len(t); yield t
        tok.train_from_iterator(sample(), trainers.BpeTrainer(vocab_size=a.vocab, special_tokens=SPECIAL, show_progress=False,
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=20))
    sp = {s: tok.token_to_id(s) for s in SPECIAL}; B, E, U, S = (sp[x] for x in ('<|begin|>', '<|end|>', '<|user|>', '<|assistant|>'))
    tok.save(f'{a.out}/tokenizer.json')
    json.dump(dict(tokenizer_class='PreTrainedTokenizerFast', bos_token='<|begin|>', eos_token='<|end|>', pad_token='<|pad|>', add_bos_token=False,
                   clean_up_tokenization_spaces=False, model_max_length=1024, chat_template=TEMPLATE), open(f'{a.out}/tokenizer_config.json', 'w'), indent=1)
    enc = lambda ts: [e.ids for e in tok.encode_batch(ts, add_special_tokens=False)]
    Q, An = enc([r[2] for r in recs]), enc([r[3] for r in recs])
    flat, idx, ntok = [], [0], Counter()
    for r, q, an in zip(recs, Q, An):
        t = [B, U] + q + [S] + an + [E]; flat.extend(t); idx.append(len(flat)); ntok[r[1]] += len(t)*r[0]
    np.array(flat, np.uint16).tofile(f'{a.out}/task.bin'); np.array(idx, np.int64).tofile(f'{a.out}/task.idx')
    np.array([r[0] for r in recs], np.float32).tofile(f'{a.out}/task.w')
    def dump(ts, fn):
        n = 0
        with open(fn, 'wb') as f:
            for i in range(0, len(ts), 200):
                x = [y for e in enc(ts[i:i+200]) for y in [B] + e + [E]]; n += len(x); f.write(np.array(x, np.uint16).tobytes())
        return n
    nl, nv = dump(lm, f'{a.out}/lm.bin'), dump(val, f'{a.out}/val.bin')
    vb = sum(len(t.encode()) for t in val)
    with open(f'{a.out}/eval.jsonl', 'w') as f:
        for e in ev: f.write(json.dumps(e) + '\n')
    with open(f'{a.out}/names.tsv', 'w') as f:
        for d in known: f.write(f"{d['title']}\t{d['section']}\t{d['pkg']}\t{d['group']}\t{d['desc']}\n")
    meta = dict(vocab=tok.get_vocab_size(), special=sp, names=len(known), records=len(recs), eval=len(ev), epoch_tokens={k: int(v) for k, v in ntok.items()},
                epoch_total=int(sum(ntok.values())), lm_tokens=nl, lm_bytes=sum(len(t.encode()) for t in lm), val_tokens=nv, val_bytes=vb, val_bytes_per_token=vb/max(nv, 1), args=vars(a))
    json.dump(meta, open(f'{a.out}/meta.json', 'w'), indent=1); print(json.dumps({k: v for k, v in meta.items() if k != 'args'}, indent=1))

if __name__ == '__main__': main()
