/* SPDX-License-Identifier: MIT */
/*
 * cuemu.h - CUDA kernels on the host: the kernels' own source, compiled as C++
 * with `-include tests/cuemu/cuemu.h`.  One fiber a CUDA thread, one CTA at a
 * time, a tensor core in software.
 *
 * It is there to find wrong indices, missing barriers, early reads and
 * divergent collectives without a GPU, and to pin the arithmetic down bit by
 * bit.  How mistakes show:
 *   - shared memory is NaN when a CTA begins and ends at a guard page, as does
 *     each allocation;
 *   - an asynchronous copy turns its target into NaN when it is started, and
 *     lands only when it is waited for (in bulk: when nobody can do anything
 *     more without it);
 *   - a warp operation is complete when all lanes of its mask stand at the same
 *     line; others are reported by file, line and lane, and so are barriers
 *     that differ, deadlocks, and copies still in flight at a thread's end;
 *   - before pdl_wait() what steps write is out of a kernel's sight (where there
 *     is a runtime, runtime.h), and a thread that ends without it is reported;
 *   - threads and CTAs run in an order that emu::schedule names: a right kernel
 *     gives the same bits in each;
 *   - ldmatrix counts bank conflicts;
 *   - a product of a warpgroup is done when it is waited for: until then its
 *     sums are NaN, and what it reads may not change (twins_sm90.h).
 *
 * What it does not see: speed; races inside a warp between two barriers where
 * the order happens to be kind; the order of memory between CTAs, which run one
 * after another (a CTA that waits for another deadlocks here; a last arriver
 * works).
 */
#ifndef CUEMU_H
#define CUEMU_H

#include "tests/cuemu/words.h"
#include "tests/cuemu/emu.h"
#include "tests/cuemu/twins.h"

#endif
