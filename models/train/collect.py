#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Collect training text from Debian packages (main), without installing them.

    collect.py --work DIR [--packages packages.txt] [--standard] [--no-fetch]

Downloads the .deb files with `apt-get download` into DIR/debs, reads them with
`dpkg-deb --fsys-tarfile`, and writes
    DIR/corpus.jsonl   one document a line: pkg, path, kind (man|doc|info|dict|text), name, section, text
    DIR/manifest.tsv   package, version, source, licence group, licences named by its copyright file, bytes by kind
Needs: apt-get, dpkg-deb, mandoc (Debian package `mandoc`).  Python standard library only.
"""
import argparse, gzip, html.parser, io, json, lzma, os, re, subprocess, sys, tarfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor

MAN = re.compile(r'^\./usr/share/man/man([1-9])[^/]*/([^/]+?)\.([1-9][a-zA-Z]*)(?:\.gz)?$')
DOC = re.compile(r'^\./usr/share/(?:doc|doc-base|perl|perl5|info|dictd|games/fortunes|debian-reference|developers-reference)/')
SKIP = re.compile(r'(changelog|changes|/copyright|NEWS\.Debian|TODO|/examples?/|\.css|\.js$|genindex|searchindex|/_sources/|/copyright|'
                  r'(?:^|/)(?:ar-MA|cs-CZ|da-DK|de-DE|el-GR|es-ES|fa-IR|fr-FR|hr-HR|id-ID|it-IT|ja-JP|ko-KR|nb-NO|nl-NL|pl-PL|pt-BR|ro-RO|ru-RU|sv-SE|tr-TR|vi-VN|zh-CN|zh-TW)/|'
                  r'\.(?:de|fr|es|it|ja|ko|pt|ru|zh|pl|nl|da|tr|pt-br|zh-cn|zh-tw)\.(?:html|txt)|translations/)', re.I)
# Debian main only; what the group names mean is in README.md.  First match wins.
GROUPS = [('GFDL', r'GFDL|Free Documentation'), ('GPL', r'\bA?GPL|GNU General Public|GNU GPL'),
          ('LGPL', r'LGPL|Lesser General'), ('Artistic', r'Artistic'), ('Apache', r'Apache'),
          ('PSF', r'PSF|Python'), ('CC', r'\bCC[- ]BY|Creative'), ('BSD-MIT', r'BSD|MIT|Expat|ISC|zlib|X11|curl|PostgreSQL'),
          ('public-domain', r'public[- ]domain|CC0')]

class Text(html.parser.HTMLParser):
    BLOCK = {'p', 'div', 'br', 'li', 'tr', 'h1', 'h2', 'h3', 'h4', 'h5', 'pre', 'dt', 'dd', 'table', 'blockquote', 'section'}
    DROP = {'script', 'style', 'nav', 'head', 'footer', 'svg', 'title'}
    def __init__(self):
        super().__init__(convert_charrefs=True); self.out, self.drop, self.pre = [], 0, 0
    def handle_starttag(self, t, a):
        if t in self.DROP: self.drop += 1
        elif t in self.BLOCK: self.out.append('\n\n' if t[0] in 'hp' else '\n')
        if t == 'pre': self.pre += 1
        if t == 'li': self.out.append('* ')
    def handle_endtag(self, t):
        if t in self.DROP: self.drop = max(0, self.drop - 1)
        elif t in self.BLOCK: self.out.append('\n')
        if t == 'pre': self.pre = max(0, self.pre - 1)
    def handle_data(self, d):
        if not self.drop: self.out.append(d if self.pre else re.sub(r'\s+', ' ', d))

NORM = str.maketrans({'\u2010': '-', '\u2011': '-', '\u2212': '-', '\u00ad': '', '\u2018': "'", '\u2019': "'", '\u00b4': "'",
                      '\u201c': '"', '\u201d': '"', '\u00a0': ' ', '\ufeff': None, '\u2026': '...', '\u00b6': None, '\r': None})
def tidy(s):
    s = s.translate(NORM)
    s = re.sub(r'[\x00-\x08\x0b-\x1f\x7f]', '', s)
    s = re.sub(r'[ \t]+\n', '\n', s)
    return re.sub(r'\n{3,}', '\n\n', s).strip()

def html_text(raw):
    p = Text()
    try: p.feed(raw.decode('utf-8', 'replace')); p.close()
    except Exception: return ''
    return tidy(''.join(p.out))

def man_text(raw):
    """roff -> plain text, 74 columns.  mandoc overstrikes with backspaces; take them out."""
    r = subprocess.run(['mandoc', '-Tutf8', '-Owidth=74'], input=raw, capture_output=True, timeout=60)
    s = re.sub('.\x08', '', r.stdout.decode('utf-8', 'replace')).translate(NORM)
    lines = s.split('\n')
    while lines and not lines[0].strip(): lines.pop(0)
    if lines: lines.pop(0)                                  # header line
    while lines and not lines[-1].strip(): lines.pop()
    if lines: lines.pop()                                   # footer line
    return tidy('\n'.join(lines).rstrip())

def unpack(name, data):
    if name.endswith(('.gz', '.dz')): return gzip.decompress(data)
    if name.endswith('.xz'): return lzma.decompress(data)
    return data

def groups(copyright_text):
    lic = re.findall(r'^License:[ \t]*(\S[^\n]*)', copyright_text, re.M)
    lic = sorted({x.strip()[:40] for x in lic})
    src = ' '.join(lic) if lic else copyright_text
    return '+'.join(g for g, pat in GROUPS if re.search(pat, src)) or 'other', lic

def one(deb):
    f = lambda k: subprocess.run(['dpkg-deb', '-f', deb, k], capture_output=True, text=True).stdout.strip()
    pkg, ver, src = f('Package'), f('Version'), f('Source') or f('Package')
    docs, lic, links = [], ('unknown', []), []
    p = subprocess.Popen(['dpkg-deb', '--fsys-tarfile', deb], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=p.stdout, mode='r|') as tar:
        for m in tar:
            n = m.name if m.name.startswith('./') else './' + m.name
            if n.startswith('./usr/share/doc/') and n.endswith('/copyright') and m.isfile():
                lic = groups(tar.extractfile(m).read().decode('utf-8', 'replace')); continue
            mm = MAN.match(n)
            if mm and (m.issym() or m.islnk()):
                links.append((mm.group(2), mm.group(3), os.path.basename(m.linkname))); continue
            if not m.isfile() or m.size > 40 << 20: continue
            try:
                if mm:
                    raw = unpack(n, tar.extractfile(m).read())
                    if raw[:200].lstrip().startswith(b'.so '):
                        links.append((mm.group(2), mm.group(3), os.path.basename(raw.split()[1].decode()))); continue
                    t = man_text(raw)
                    kind, name, sec = 'man', mm.group(2), mm.group(3)
                elif DOC.match(n) and not SKIP.search(n):
                    kind, name, sec = 'doc', os.path.basename(n), ''
                    b = re.sub(r'\.(gz|xz|dz)$', '', n)
                    if '/dictd/' in n:
                        if not n.endswith('.dict.dz'): continue
                        kind, t = 'dict', tidy(unpack(n, tar.extractfile(m).read()).decode('utf-8', 'replace'))
                    elif '/fortunes/' in n:
                        if n.endswith(('.dat', '.u8')) or '/off/' in n: continue
                        kind, t = 'text', tidy(tar.extractfile(m).read().decode('utf-8', 'replace'))
                    elif '/share/info/' in n:
                        kind = 'info'
                        t = unpack(n, tar.extractfile(m).read()).decode('utf-8', 'replace')
                        t = tidy(re.sub(r'\x1f\nFile:[^\n]*\n', '\n', t))
                        if t.startswith(('Tag Table', 'Indirect')): continue
                    elif b.endswith(('.html', '.htm')): t = html_text(unpack(n, tar.extractfile(m).read()))
                    elif b.endswith('.pod'): t = tidy(unpack(n, tar.extractfile(m).read()).decode('utf-8', 'replace'))
                    elif b.endswith(('.txt', '.rst', '.md', '.adoc')) or re.search(r'/(README|FAQ|HOWTO|NOTES|INTRO|ANNOUNCE)[^/]*$', b):
                        t = tidy(unpack(n, tar.extractfile(m).read()).decode('utf-8', 'replace'))
                    else: continue
                else: continue
            except Exception as e:
                print(f'{pkg}: {n}: {type(e).__name__}', file=sys.stderr); continue
            if len(t) < 120: continue
            a = sum(c < '\x80' for c in t[:20000])
            if a < 0.9 * min(len(t), 20000): continue       # not English
            docs.append(dict(pkg=pkg, path=n[2:], kind=kind, name=name, section=sec, text=t))
    p.wait()
    return pkg, ver, src, lic, docs, links

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--work', required=True); ap.add_argument('--packages')
    ap.add_argument('--standard', action='store_true'); ap.add_argument('--no-fetch', action='store_true')
    ap.add_argument('--jobs', type=int, default=1)
    a = ap.parse_args()
    debs = os.path.join(a.work, 'debs'); os.makedirs(debs, exist_ok=True)
    if not a.no_fetch:
        want = set()
        if a.packages: want |= {l.strip() for l in open(a.packages) if l.strip() and l[0] != '#'}
        if a.standard:
            cur = None
            for l in subprocess.run(['apt-cache', 'dumpavail'], capture_output=True, text=True).stdout.splitlines():
                if l.startswith('Package:'): cur = l.split()[1]
                elif re.match(r'Priority: (required|important|standard)$', l): want.add(cur)
        have = {d.split('_')[0] for d in os.listdir(debs)}
        for p in sorted(want - have):
            if subprocess.run(['apt-get', 'download', '-q', p], cwd=debs, capture_output=True).returncode:
                print('not fetched:', p, file=sys.stderr)
    files = sorted(os.path.join(debs, d) for d in os.listdir(debs) if d.endswith('.deb'))
    seen, tot, nlinks = set(), defaultdict(int), []
    with open(os.path.join(a.work, 'corpus.jsonl'), 'w') as out, open(os.path.join(a.work, 'manifest.tsv'), 'w') as man, \
         ProcessPoolExecutor(a.jobs) as ex:
        man.write('package\tversion\tsource\tgroup\tlicences\tbytes_man\tbytes_doc\tbytes_info\tbytes_dict\tbytes_text\n')
        got = list(ex.map(one, files))
        of = {src.split()[0]: x for _, _, src, x, _, _ in got if x[0] != 'unknown'}     # doc directory is a link to a sibling's
        for pkg, ver, src, (grp, lic), docs, links in got:
            if grp == 'unknown': grp, lic = of.get(src.split()[0], (grp, lic))
            by = defaultdict(int)
            for d in docs:
                h = hash(d['text'][:4000])
                if h in seen: continue
                seen.add(h); n = len(d['text'].encode()); by[d['kind']] += n; tot[(d['kind'], grp)] += n
                d['group'] = grp
                out.write(json.dumps(d, ensure_ascii=False) + '\n')
            man.write('\t'.join([pkg, ver, src, grp, '; '.join(lic)[:300]] + [str(by[k]) for k in ('man', 'doc', 'info', 'dict', 'text')]) + '\n')
    for k, v in sorted(tot.items(), key=lambda x: -x[1]): print(f'{v/1e6:8.2f} MB  {k[0]:5s} {k[1]}')
    print(f'{sum(tot.values())/1e6:8.2f} MB  total')

if __name__ == '__main__': main()
