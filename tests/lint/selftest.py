#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""selftest.py: a lint that finds nothing may be blind, so walls.py is shown a
small house with one break of each kind, and a whole one."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WHOLE = {
    "base/err.h": "int err_set(int code);\n",
    "base/err.c": '#include "base/err.h"\nint err_set(int code)\n{\n'
                  "\treturn code;\n}\n",
    "kernels/ops.h": "struct ops;\n",
    "daemon/core/kv.h": "int kv_init(void **ret);\n",
    "daemon/core/kv.c": '#include "daemon/core/kv.h"\n#include <stdlib.h>\n'
                        "int kv_init(void **ret)\n{\n\t*ret = malloc(1);\n"
                        "\treturn 0;\n}\n",
    "include/llmclient.h": "int llmc_open(void);\n",
    "include/llm_shm.h": "int shm_load(void);\n",
    "libclient/client.c": '#include "llmclient.h"\nint llmc_open(void)\n{\n'
                          "\treturn 0;\n}\n"
                          "int client_hidden(void)\n{\n\treturn 0;\n}\n",
    "tools/llm.c": '#include "llmclient.h"\nint main(void)\n{\n'
                   "\treturn llmc_open();\n}\n",
}
FN = "void f(void)\n{\n%s\n}\n"
# what is broken, the file that breaks it, its text, words of the finding
BREAKS = [
    ("an include goes up", "base/up.c", '#include "daemon/core/kv.h"\n', "floor"),
    ("a call goes up", "kernels/up.c", FN % "\tkv_init(0);", "floor"),
    ("a table names a function above", "base/up.c",
     "int kv_init(void **);\nstatic void *table[] = { (void *)kv_init };\n",
     "floor"),
    ("core sees kernels", "daemon/core/x.c", '#include "kernels/ops.h"\n',
     "neither contract nor kernels"),
    ("a tool reaches past the library", "tools/x.c",
     '#include "include/llm_shm.h"\n', "only way"),
    ("a tool calls what is not public", "tools/x.c", FN % "\tclient_hidden();",
     "only way"),
    ("the daemon is a client", "daemon/x.c", '#include "llmclient.h"\n',
     "no client of itself"),
    ("a circle by include", "base/err.h", '#include "base/log.h"\n', "circle"),
    ("a circle by call", "base/err.c",
     '#include "base/err.h"\nint err_set(int code)\n{\n\treturn log_it(code);\n'
     "}\n", "circle"),
    ("core takes a lock", "daemon/core/x.c", FN % "\tpthread_mutex_lock(0);",
     "one thread"),
    ("core opens a file", "daemon/core/x.c", FN % '\topen("x", 0);', "may call"),
    ("core takes memory late", "daemon/core/x.c", FN % "\tmalloc(1);",
     "given back in"),
    ("a helper takes memory for the step", "daemon/core/x.c",
     "static void h(void)\n{\n\tmalloc(1);\n}\n" + FN % "\th();",
     "given back in"),
    ("a helper takes memory for init", "daemon/core/x.c",
     "static void h(void)\n{\n\tmalloc(1);\n}\n"
     "void x_init(void)\n{\n\th();\n}\n", None),
    ("an include that is not there", "base/x.c", '#include "base/none.h"\n',
     "not in the tree"),
    ("what only a comment says", "base/x.c",
     '/* #include "daemon/core/kv.h" kv_init(0) */\n', None),
    ("what only a string says", "base/x.c",
     'const char *s = "kv_init(0)";\n', None),
]
LOG = {"base/log.h": '#include "base/err.h"\nint log_it(int code);\n',
       "base/log.c": '#include "base/log.h"\nint log_it(int code)\n{\n'
                     "\treturn err_set(code);\n}\n"}


def walls(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as f:
                f.write(text)
        r = subprocess.run([sys.executable, os.path.join(HERE, "walls.py"), root],
                           capture_output=True, text=True)
        return r.returncode, r.stdout + r.stderr


bad = 0
for what, path, text, words in [("the whole house", "base/x.c", "", None)] + BREAKS:
    rc, out = walls({**WHOLE, **LOG, path: text})
    if (words is None) != (rc == 0) or (words and words not in out):
        print(f"{what}: exit {rc}, said: {out.strip()}")
        bad += 1
print(f"{len(BREAKS) - bad} of {len(BREAKS)} planted houses judged rightly")
sys.exit(bad != 0)
