/* SPDX-License-Identifier: MIT */
/* bench.h - round trips, @n of each kind; prints BENCH lines. */
#ifndef BENCH_H
#define BENCH_H

void bench(int n);

#endif
