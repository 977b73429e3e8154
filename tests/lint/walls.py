#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""walls.py [ROOT]: the walls of the house hold.

A module is x.c with x.h.  An arrow goes from the module that includes a header,
or names a function, to the module that the header or the function stands in.
Checked, for every arrow:

  floor   it goes down a floor, or sideways inside its own folder
  wall    it passes none of WALLS
  circle  following arrows never leads back

and for daemon/core, which must give the same output for the same input: no
system call, clock, thread or atomic (PURE names what it may call), and memory
only in *_init, *_deinit, *_check (the simulator's) and their own static helpers.

Prints a line a finding, `file:line: what, and what is allowed`, then one line
that sums up.  Exit status 1 where there is a finding.
"""
import os
import re
import sys

# The first prefix that fits names the floor; test and example code stands on
# the roof and is only held to the walls named for it.
FLOORS = [
    ("include/uapi/", 0),
    ("include/", 1), ("base/", 1),
    ("text/", 2), ("checkpoint/", 2), ("kernels/", 2), ("daemon/core/", 2), ("daemon/comm/", 2),
    ("daemon/model/", 3),
    ("daemon/main.", 5), ("daemon/", 4), ("libclient/", 4), ("kmod/", 4),
    ("tools/", 5), ("examples/", 5),
]

# (from, to, except, why): no arrow from a path that matches the first to a path
# that matches the second, unless it matches the third.
WALLS = [
    ("daemon/core/", "include/|kernels/", "",
     "core sees neither contract nor kernels"),
    ("text/|base/|checkpoint/", "include/", "",
     "text, base and checkpoint know nothing of the contract"),
    ("kernels/", "include/", "", "kernels know nothing of the contract"),
    ("tools/|examples/", "include/|libclient/",
     "include/(llmclient|uapi/linux/llm_netlink).h",
     "llmclient.h is the only way to the service"),
    ("tools/|examples/", "kernels/", r"kernels/formats\.[ch]",
     "only the daemon computes; how numbers lie in files is for llm quantize"),
    ("tools/|examples/", "daemon/", "", "tools know nothing of the daemon"),
    ("examples/", "base/|text/", "", "an example stands alone"),
    ("libclient/", "base/|text/|kernels/|daemon/|kmod/", "",
     "the library is linked into foreign programs: it brings nothing along"),
    ("daemon/", "include/llmclient.h|libclient/", "",
     "the daemon is no client of itself"),
    ("kmod/", "", "include/uapi/|kmod/", "the module shares the contract only"),
    ("daemon/(?!main)", r"kernels/\w+/", "",
     "op tables are chosen in main; others see ops.h"),
    ("daemon/(?!main|carrier_)", r"daemon/carrier_\w+", "",
     "carriers are chosen in main; others see carrier.h"),
]

# What core may call from outside the house.
PURE = set("""
    memcpy memmove memset memcmp strlen strcmp calloc free assert static_assert
    offsetof sizeof typeof _Static_assert _Alignof alignof __builtin_expect
    __builtin_clz __builtin_clzll __builtin_ctz __builtin_ctzll
    __builtin_popcountll __builtin_prefetch __attribute__ abs labs llabs fabs fabsf isfinite isnan
    floor ceil fmin fmax fminf fmaxf UINT64_C INT64_C UINT32_C exp log exp2 log2
    if for while switch return defined va_start va_end
    crypto_shorthash
""".split())
MEMORY = {"malloc", "calloc", "realloc", "aligned_alloc", "free",
          "table_alloc", "table_free"}
IMPURE = re.compile(r"\b(pthread_\w+|__atomic_\w+|__sync_\w+|atomic_\w+|_Atomic"
                    r"|volatile|_Thread_local|__thread|errno)\b")


def blank(text):
    """Comments and literals as spaces (include names stay), lines kept."""
    def sub(m):
        s = m.group(0)
        if s[0] in "\"'" or s.startswith("/"):
            return s[0] * (s[0] in "\"'") + re.sub(r"[^\n]", " ", s[1:])
        return s
    return re.sub(r'#\s*include[^\n]*|/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
                  r"|'(?:\\.|[^'\\\n])*'", sub, text, flags=re.S)


def drop_directives(text):
    """Preprocessor lines as spaces, the bodies of macros with them."""
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*",
                  lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.M)


def functions(text):
    """(name, is static, start, end of body) of each definition at depth 0."""
    depth, head = 0, 0
    found = []
    for m in re.finditer(r"[{};]", text):
        if m.group() == "}":
            depth -= 1
            if depth == 0:
                if found and found[-1][3] is None:
                    found[-1][3] = m.end()
                head = m.end()
        elif m.group() == "{":
            if depth == 0:
                # what stands before `(...) {`, attributes taken off
                sig = re.sub(r"__attribute__\s*\(\(.*?\)\)", "",
                             text[head:m.start()], flags=re.S)
                f = re.search(r"\b([A-Za-z_]\w*)\s*\([^=]*\)\s*$", sig, re.S)
                if f and "=" not in sig:
                    found.append([re.search(r"([A-Za-z_]\w*)\s*\(", sig).group(1),
                                  bool(re.search(r"\bstatic\b", sig)),
                                  head, None])
            depth += 1
        elif depth == 0:
            head = m.end()
    return [tuple(f) for f in found if f[3]]


def floor_of(path):
    return next((n for p, n in FLOORS if path.startswith(p)), None)


class House:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.arrows = {}   # module -> {module -> "file:line: how"}
        self.text = {}     # path -> source without comments
        for top in ("include", "base", "text", "checkpoint", "kernels",
                    "libclient", "daemon", "tools", "examples", "kmod"):
            for d, _, files in os.walk(os.path.join(root, top)):
                for f in files:
                    if f.endswith((".c", ".h", ".inc", ".cu", ".cuh")):
                        full = os.path.join(d, f)
                        with open(full, errors="replace") as fd:
                            path = os.path.relpath(full, root)
                            self.text[path] = blank(fd.read())
        self.code = {p: drop_directives(t) for p, t in self.text.items()}
        self.funcs = {p: functions(t) for p, t in self.code.items()}

    def module(self, path):
        stem, ext = os.path.splitext(path)
        for c in (".c", ".cu"):
            if ext in (".h", ".cuh") and stem + c in self.text:
                return stem
        return stem if ext in (".c", ".cu") else path

    def find(self, path, at, what):
        line = self.text[path].count("\n", 0, at) + 1
        self.findings.append(f"{path}:{line}: {what}")

    def resolve(self, path, name):
        """The file of ours that #include "name" in path reads, or None."""
        for d in (os.path.dirname(path), "", "include", "include/uapi"):
            p = os.path.normpath(os.path.join(d, name))
            if p in self.text:
                return p
        return None

    def arrow(self, path, at, target, how):
        """An arrow from file path to file target: judge it, keep it."""
        a, b = self.module(path), self.module(target)
        if a == b:
            return
        line = self.text[path].count("\n", 0, at) + 1
        self.arrows.setdefault(a, {}).setdefault(b, f"{path}:{line}: {how}")
        up, down = floor_of(path), floor_of(target)
        folder, other = os.path.dirname(path), os.path.dirname(target)
        near = folder.split("/")[0] == other.split("/")[0] == "kernels"
        if up is None or down is None:
            self.find(path, at, f"{how}: stands in no folder of the house")
        elif down > up or (down == up and folder != other and not near):
            self.find(path, at, f"{how} is on floor {down}, this on floor {up}:"
                      " arrows go down, or sideways in their own folder")
        for src, dst, but, why in WALLS:
            if (re.match(src, path) and re.match(dst, target)
                    and not (but and re.match(but, target))):
                self.find(path, at, f"{how}: {why}")
                break

    def includes(self):
        for path, text in self.text.items():
            for m in re.finditer(r'#[ \t]*include[ \t]*["<]([^">\n]+)[">]', text):
                target = self.resolve(path, m.group(1))
                if target:
                    self.arrow(path, m.start(), target, f"includes {target}")
                elif m.group(0).endswith('"'):
                    self.find(path, m.start(), f"includes \"{m.group(1)}\", which"
                              " is not in the tree: <> is for the system's")

    def calls(self):
        owner, where = {}, {}
        for path, funcs in self.funcs.items():
            for name, static, _, _ in funcs:
                if not static:
                    owner.setdefault(name, set()).add(self.module(path))
                    where[name] = path
        public = set(re.findall(r"\b(\w+)\s*\(",
                                self.code.get("include/llmclient.h", "")))
        for path, code in self.code.items():
            if not path.endswith((".c", ".cu")):
                continue
            own = {f[0] for f in self.funcs[path]}
            seen = set()
            # a call, or a prototype of one's own (a table needs one); no field
            for m in re.finditer(r"(->|\.)?\s*\b([A-Za-z_]\w*)\s*\(", code):
                name = m.group(2)
                if (m.group(1) or name in seen or name in own
                        or len(owner.get(name, ())) != 1):
                    continue
                seen.add(name)
                target = where[name]
                if (path.startswith(("tools/", "examples/")) and name in public
                        and target.startswith("libclient/")):
                    target = "include/llmclient.h"
                self.arrow(path, m.start(2), target, f"uses {name} of {target}")

    def circles(self):
        """Tarjan: each set of modules that reach each other is a finding."""
        index, low, stack = {}, {}, []
        sys.setrecursionlimit(10000)

        def visit(v):
            index[v] = low[v] = len(index)
            stack.append(v)
            for w in self.arrows.get(v, ()):
                if w not in index:
                    visit(w)
                if w in stack:
                    low[v] = min(low[v], low[w])
            if low[v] == index[v]:
                ring = stack[stack.index(v):]
                del stack[stack.index(v):]
                if len(ring) > 1:
                    self.findings.append("circle: " + "; ".join(
                        how for a in ring for b, how in self.arrows[a].items()
                        if b in ring))
        for v in list(self.arrows):
            if v not in index:
                visit(v)

    def pure(self):
        ours = {f[0] for fs in self.funcs.values() for f in fs}
        for path, code in self.code.items():
            if not path.startswith("daemon/core/"):
                continue
            for m in IMPURE.finditer(code):
                self.find(path, m.start(), f"{m.group()}: core is one thread's, "
                          "with no state but its caller's")
            may = self.may_allocate(path)
            macros = set(re.findall(r"#\s*define\s+(\w+)\(", self.text[path]))
            for name, _, start, end in self.funcs[path]:
                for m in re.finditer(r"(->|\.)?\s*\b([A-Za-z_]\w*)\s*\(",
                                     code[start:end]):
                    called, at = m.group(2), start + m.start(2)
                    if called in MEMORY and name not in may:
                        self.find(path, at, f"{name} calls {called}: memory is "
                                  "taken in *_init, given back in *_deinit")
                    elif not (m.group(1) or called in ours | PURE | MEMORY | macros
                              or re.fullmatch(r"[A-Z_0-9]+", called)
                              or self.is_parameter(code[start:end], called)):
                        self.find(path, at, f"{name} calls {called}: not among "
                                  "what core may call (PURE in walls.py)")

    def may_allocate(self, path):
        """*_init, *_deinit, *_check, and static helpers that only they call."""
        funcs = self.funcs[path]
        may = {f[0] for f in funcs if re.search("_((de)?init|check)$", f[0])}
        while True:
            callers = {f[0]: set() for f in funcs if f[1]}
            for name, _, start, end in funcs:
                for called in re.findall(r"\b\w+\b", self.code[path][start:end]):
                    if called in callers and called != name:
                        callers[called].add(name)
            more = {f for f, by in callers.items() if by and by <= may} - may
            if not more:
                return may
            may |= more

    @staticmethod
    def is_parameter(body, name):
        """A function pointer handed in: int (*name)(...)."""
        return re.search(r"\(\s*\*\s*" + name + r"\s*\)", body) is not None

    def check(self):
        self.includes()
        self.calls()
        self.circles()
        self.pure()
        modules = {self.module(p) for p in self.text}
        for f in sorted(set(self.findings)):
            print(f)
        nr = sum(len(a) for a in self.arrows.values())
        print(f"{len(modules)} modules, {nr} arrows, "
              f"{len(set(self.findings))} findings")
        return bool(self.findings)


if __name__ == "__main__":
    sys.exit(House(sys.argv[1] if len(sys.argv) > 1 else ".").check())
