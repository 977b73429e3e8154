/* SPDX-License-Identifier: MIT */
/* What of a GPU's memory is left for KV, and what is said where nothing is. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/model/gpusize.h"

#include <errno.h>

#define GIB (1ull << 30)

TEST(kv_gets_what_weights_and_buffers_leave)
{
	static const struct {
		const char *row;
		struct gpusize_ask ask;
		int ret;
		uint64_t kv;
		const char *part;
	} rows[] = {
		{ "nine tenths where nobody says",
		  { "m", "G", 0, 80 * GIB, 79 * GIB, 0, 0, 15 * GIB, GIB },
		  0,
		  56 * GIB,
		  "" },
		{ "no more than is free where nobody says",
		  { "m", "G", 0, 80 * GIB, 40 * GIB, 0, 0, 15 * GIB, GIB },
		  0,
		  24 * GIB,
		  "" },
		{ "bytes",
		  { "m", "G", 0, 80 * GIB, 79 * GIB, 20 * GIB, 0, 15 * GIB,
		    GIB },
		  0,
		  4 * GIB,
		  "" },
		{ "a share",
		  { "m", "G", 0, 80 * GIB, 79 * GIB, 0, 500, 15 * GIB, GIB },
		  0,
		  24 * GIB,
		  "" },
		{ "bytes that are not free",
		  { "m", "G7", 3, 80 * GIB, 10 * GIB, 20 * GIB, 0, 1, 1 },
		  -ENOMEM,
		  0,
		  "m: gpu-memory is 20.00 GiB, GPU 3 (G7) has 10.00 GiB free "
		  "of 80.00" },
		{ "a share that is not free",
		  { "m", "G", 0, 80 * GIB, 10 * GIB, 0, 500, 1, 1 },
		  -ENOMEM,
		  0,
		  "gpu-memory is 40.00 GiB" },
		{ "a model that does not fit",
		  { "m", "G7", 2, 10 * GIB, 9 * GIB, 0, 0, 15 * GIB, GIB / 2 },
		  -ENOMEM,
		  0,
		  "m: weights of 15.00 GiB and buffers of 0.50 GiB leave "
		  "nothing for KV of the 9.00 GiB that may be used of GPU 2 "
		  "(G7: 9.00 GiB free of 10.00)" },
		{ "a model that leaves nothing",
		  { "m", "G", 0, 10 * GIB, 9 * GIB, 8 * GIB, 0, 7 * GIB, GIB },
		  -ENOMEM,
		  0,
		  "leave nothing for KV of the 8.00 GiB" },
		{ "sums beyond 32 bits, shares of odd totals",
		  { "m", "G", 0, 85899345921, 85899345921, 0, 999, 0, 0 },
		  0,
		  85813446575, /* 0.999 times it, downward */
		  "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err err = { 0 };
		uint64_t kv = 0;

		ROW(rows[i].row);
		CHECK_EQ(gpusize_plan(&rows[i].ask, &kv, &err), rows[i].ret);
		CHECK_EQ(kv, rows[i].kv);
		CHECK(strstr(err.text, rows[i].part));
	}
}
