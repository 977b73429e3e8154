/* SPDX-License-Identifier: MIT */
/* As test_engine_ahead.c, of what an engine finds that another one left. */
#define TOY_LATE
#include "tests/unit/test_recover.c"
