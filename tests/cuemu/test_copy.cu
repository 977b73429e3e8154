/* SPDX-License-Identifier: MIT */
/* slow test: blocks are copied whole, and nothing else is touched */
#include "kernels/cuda/cuda.h"
#include "tests/cuemu/check.h"

#include <cerrno>

#define BLOCKS 9

static const struct cuda_block_pair moves[] = { { 3, 7 }, { 3, 1 }, { 8, 2 } };
#define MOVES 3

/* one CTA in part, whole CTAs, and some bytes more */
static const size_t sizes[] = { 16, 2 * 3 * 2 * 512, 128 << 10,
				(64 << 10) + 48 };

struct fixture {
	size_t size;
	array<char> kv;
	array<struct cuda_block_pair> pairs;
	std::vector<char> want;

	explicit fixture(size_t block_bytes)
		: size(block_bytes), kv(BLOCKS * size), pairs(MOVES),
		  want(BLOCKS * size)
	{
		for (size_t i = 0; i < want.size(); i++)
			want[i] = start(i);
		for (int i = 0; i < MOVES; i++) {
			pairs[i] = moves[i];
			memcpy(&want[moves[i].dst * size],
			       &want[moves[i].src * size], size);
		}
		pairs.send();
	}

	static char start(size_t i)
	{
		return (char)(i * 7 + i / 251);
	}

	struct cuda_copy_args args()
	{
		return { kv.device, pairs.device, size, MOVES };
	}

	bool run()
	{
		struct cuda_copy_args a = args();
		bool ok;

		for (size_t i = 0; i < kv.host.size(); i++)
			kv[i] = start(i);
		kv.send();
		ok = ran(cuda_copy_blocks(&a, NULL));
		kv.fetch();
		return ok;
	}
};

TEST(blocks_are_copied_whole_and_nothing_else_is_touched)
{
	for (size_t size : sizes) {
		fixture f(size);

		CHECK(every_schedule(f.kv.host, [&] { return f.run(); }));
		CHECK(same_bits(f.kv.host, f.want));
	}
}

TEST(copy_refuses_what_it_cannot_run)
{
	fixture f(16);
	struct cuda_copy_args args = f.args();

	args.nr_pairs = 0;
	CHECK_EQ(cuda_copy_blocks(&args, NULL), -EINVAL);
	args = f.args();
	args.block_bytes = 24;
	CHECK_EQ(cuda_copy_blocks(&args, NULL), -EINVAL);
}
