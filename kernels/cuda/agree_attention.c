/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/agree_attention.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/layout.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

#define HEADS	2   /* of the one KV head */
#define CONTEXT 140 /* two tiles, an end in the middle of a block */
#define QUERIES 33  /* an end in the middle of a unit of either kernel */
#define BLOCKS	((CONTEXT + KV_BLOCK - 1) / KV_BLOCK)
#define ROWS	(QUERIES * HEADS)
#define FEW	((ROWS + CUDA_ATTENTION_ROWS - 1) / CUDA_ATTENTION_ROWS)
#define MOST	128 /* dimensions */

_Static_assert(ROWS <= CUDA_ATTENTION_SM90_ROWS, "one unit");

static const int dims[] = { 64, 128 };

#define NR_DIMS (sizeof(dims) / sizeof(*dims))

/* What is attended to, and who does; of smaller heads not all of q and kv. */
struct question {
	_Alignas(16) uint16_t q[ROWS * MOST];
	_Alignas(16) uint16_t kv[BLOCKS * 2 * KV_BLOCK * MOST];
	struct cuda_attention_work few[FEW], many[1];
	struct cuda_attention_plan plan;
	int table[BLOCKS], start[2], len[1];
};

typedef float answer[ROWS * MOST];

/* Of few and of many; what nobody writes stays 0 (dims of 64). */
struct answers {
	answer y[NR_DIMS][2];
};

/* ---- numbers */

static uint32_t noise(uint32_t i)
{
	uint64_t z = i * 0x9e3779b97f4a7c15ull + 0x8ebc6af09c88c6e3ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(z >> 32);
}

/* A bf16 of any size from 2^-@range to 2^@range. */
static uint16_t number(uint32_t i, uint32_t range)
{
	uint32_t u = noise(i);

	return (uint16_t)((u & 0x8000) |
			  (127 - range + (u >> 16) % (2 * range)) << 7 |
			  (u & 127));
}

/*
 * Neighbours cancel: dimensions of a key, which the query weighs alike, and
 * values of one token and the next.
 */
static void fill(struct question *a, int dim)
{
	for (int i = 0; i < ROWS * dim; i++)
		a->q[i] = number((uint32_t)(i / 2), 3);
	for (int i = 0; i < BLOCKS * KV_BLOCK * dim; i++) {
		int token = i / dim, e = i % dim;
		int at = layout_kv(dim, token % KV_BLOCK, e / 8) / 2 + e % 8;
		uint16_t *k = a->kv + (size_t)(token / KV_BLOCK) * 2 *
					      KV_BLOCK * (size_t)dim;
		uint16_t *v = k + KV_BLOCK * (size_t)dim;
		uint32_t mine = 0x40000000u + (uint32_t)(i / 2);
		uint32_t column = 0x80000000u + (uint32_t)(token / 2 * dim + e);

		k[at] = number(mine, 6);
		if (e % 2)
			k[at] ^= noise(~mine) % 3 ? 0x8001 : 0x8000;
		v[at] = number(column, 6);
		if (token % 2)
			v[at] ^= noise(~column) % 3 ? 0x8001 : 0x8000;
	}
	for (int i = 0; i < FEW; i++)
		a->few[i] = (struct cuda_attention_work){
			.row = i * CUDA_ATTENTION_ROWS, .place = -1
		};
	a->many[0] = (struct cuda_attention_work){ .place = -1 };
	a->plan = (struct cuda_attention_plan){ .table_stride = BLOCKS,
						.tiles_per_warp = 1 << 20 };
	for (int i = 0; i < BLOCKS; i++)
		a->table[i] = BLOCKS - 1 - i;
	a->start[1] = QUERIES;
	a->len[0] = CONTEXT;
}

/* ---- asking */

/* Both answers to @q, which is there. */
static int attend(struct device *d, const struct question *q, int dim,
		  answer *y)
{
	struct cuda_attention_args args = {
		.q = q->q,
		.k = q->kv,
		.v = q->kv + KV_BLOCK * (size_t)dim,
		.plan = &q->plan,
		.work = q->few,
		.block_table = q->table,
		.query_start = q->start,
		.context_len = q->len,
		.out = y[0],
		.block_stride = 2 * KV_BLOCK * (size_t)dim,
		.nr_heads = HEADS,
		.nr_kv_heads = 1,
		.nr_work = FEW,
		.scale = 0.125f, /* exponents of some 2 */
		.number = CUDA_F32,
		.head_dim = dim,
	};
	int ret = device_started(d, cuda_attention(&args, d->stream));

	args.work = q->many;
	args.nr_work = 1;
	args.out = y[1];
	return ret ? ret
		   : device_started(d, cuda_attention_sm90(&args, d->stream));
}

/* An answer that nobody wrote is zero, and not what was asked for. */
static int same(const struct answers *a)
{
	static const answer none;

	for (size_t i = 0; i < NR_DIMS; i++)
		if (!memcmp(a->y[i][0], none, sizeof(none)) ||
		    memcmp(a->y[i][0], a->y[i][1], sizeof(none)))
			return 0;
	return 1;
}

int agree_attention(struct device *d, int *ret_same, struct err *err)
{
	size_t size = NR_DIMS * sizeof(struct question);
	struct question *here = device_take_pinned(d, size, err);
	struct answers *answers = device_take_pinned(d, sizeof(*answers), err);
	struct question *there = device_take(d, size, err);
	struct answers *theirs = device_take(d, sizeof(*theirs), err);
	int ret;

	if (!here || !answers || !there || !theirs)
		return -ENOMEM;
	memset(here, 0, size);
	for (size_t i = 0; i < NR_DIMS; i++)
		fill(&here[i], dims[i]);
	ret = device_send(d, there, here, size);
	for (size_t i = 0; i < NR_DIMS && !ret; i++)
		ret = attend(d, &there[i], dims[i], theirs->y[i]);
	if (!ret)
		ret = device_fetch(d, answers, theirs, sizeof(*answers));
	if (!ret)
		ret = device_wait(d);
	if (ret)
		return err_set(err, -EIO, "GPU %u: it failed, see the log",
			       d->number);
	*ret_same = same(answers);
	return 0;
}
