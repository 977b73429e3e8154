#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# doc/netlink/llm.yaml and include/uapi/linux/llm_netlink.h say the same: each
# attribute, command and group, with its number and its type.
set -u
cd "$(dirname "$0")/../.." || exit 2
if ! python3 -c 'import yaml' 2>/dev/null; then
	echo "ok the specification and the header agree # SKIP no python3-yaml"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
exec python3 - <<'END'
import re, yaml
spec = yaml.safe_load(open("doc/netlink/llm.yaml"))
text = open("include/uapi/linux/llm_netlink.h").read()
name = lambda *p: "_".join(p).upper().replace("-", "_")
failed = passed = 0
def same(what, got, want):
    global failed, passed
    if got == want:
        passed += 1
        print("ok", what)
        return
    failed += 1
    for k in sorted(set(got) | set(want)):
        if got.get(k) != want.get(k):
            print(f"# {k}: header {got.get(k)}, specification {want.get(k)}")
    print("not ok", what)

header, types = {}, {}
for body in re.findall(r"enum \{(.*?)\}", text, re.S):
    n = 0
    for m in re.finditer(r"(\w+)(?: = (\w+))?,([^\n]*)\n?", body + ",\n"):
        n = int(m.group(2)) if (m.group(2) or "").isdigit() else n
        if not m.group(1).startswith("__") and not m.group(1).endswith("_MAX"):
            header[m.group(1)] = n
            t = re.search(r"/\* (u32|u64|string)\b", m.group(3))
            types[m.group(1)] = t and t.group(1)
        n += 1
want, kinds = {}, {}
for s in spec["attribute-sets"]:
    for i, a in enumerate(s["attributes"], 1):
        want[name("llm_a", s["name"], a["name"])] = i
        kinds[name("llm_a", s["name"], a["name"])] = a["type"]
for i, o in enumerate(spec["operations"]["list"], 1):
    want[name("llm_cmd", o["name"])] = i
same("every attribute and command has its number in both", header, want)
said = {k: v for k, v in types.items() if v}
same("and the type that the header names", said, {k: kinds.get(k) for k in said})
defines = dict(re.findall(r'#define (LLM_\w+)\s+"(\w+)"', text))
same("and the names of family and group", defines,
     {"LLM_FAMILY_NAME": spec["name"],
      "LLM_MCGRP_EVENTS": spec["mcast-groups"]["list"][0]["name"]})
print(f"{passed} passed, {failed} failed, 0 skipped")
raise SystemExit(failed != 0)
END
