/* SPDX-License-Identifier: MIT */
/*
 * A slow test: shares and delays where each step is planned before the one
 * before it is collected (core/ahead.h).  Whoever arrives then finds one step
 * more that is under way; all other bounds are those of test_fair.c.
 */
#define AHEAD 1
#include "tests/sim/test_fair.c"
