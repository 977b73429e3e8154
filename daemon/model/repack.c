/* SPDX-License-Identifier: MIT */
/*
 * repack.c - a band of 128 rows at a time; of 4 bits tiles of as many columns, so
 * that what lies column by column is read by whole cache lines.
 */
#include "daemon/model/repack.h"
#include "kernels/block128.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TILE  BLOCK128
#define WORDS (TILE / 8)

/* From which bit on AWQ keeps the code of row (0..7). */
static const uint8_t awq_shift[8] = { 0, 16, 4, 20, 8, 24, 12, 28 };

static uint32_t word_at(const uint8_t *word, uint64_t i)
{
	uint32_t u;

	memcpy(&u, word + 4 * i, 4);
	return u;
}

/* What the threads share; *r is one of the forms. */
struct band_job {
	const void *r;
	uint8_t *dst;
	_Atomic uint32_t bad; /* least row found bad, or UINT32_MAX; relaxed */
};

/* @fn on bands [first, end) of TILE rows; returns job->bad. */
static uint32_t run_bands(pool_fn *fn, const void *r, void *dst,
			  struct pool *pool, uint32_t rows)
{
	struct band_job job = { .r = r, .dst = dst, .bad = UINT32_MAX };

	pool_run(pool, fn, &job, (rows + TILE - 1) / TILE, 1);
	/* relaxed everywhere: pool_run() makes all that they wrote visible */
	return atomic_load_explicit(&job.bad, memory_order_relaxed);
}

static uint32_t band_end(uint32_t end, uint32_t rows)
{
	return end < rows / TILE ? end * TILE : rows;
}

/* The least of the rows that somebody found bad. */
static void found_bad(struct band_job *job, uint32_t row)
{
	uint32_t least = atomic_load_explicit(&job->bad, memory_order_relaxed);

	while (row < least &&
	       !atomic_compare_exchange_weak_explicit(&job->bad, &least, row,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static void fp8_bands(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	struct band_job *job = arg;
	const struct repack_fp8 *r = job->r;
	uint32_t blocks = r->cols / BLOCK128;
	uint32_t bytes = weight_formats[WEIGHT_FP8].block_bytes;

	(void)thread;
	end = band_end(end, r->rows);
	for (uint32_t row = first * TILE; row < end; row++) {
		const float *scale =
			r->scale + (uint64_t)(row / r->per_rows) * r->nr_scales;
		const uint8_t *code = r->code + (uint64_t)row * r->cols;
		uint8_t *p = job->dst + (uint64_t)row * blocks * bytes;
		uint32_t nan = 0;

		for (uint32_t b = 0; b < blocks; b++, code += BLOCK128) {
			for (uint32_t i = 0; i < BLOCK128; i++)
				nan |= (code[i] & 0x7f) == 0x7f;
			block128_put_fp8(p, scale[r->nr_scales > 1 ? b : 0],
					 code);
			p += bytes;
		}
		if (nan)
			found_bad(job, row);
	}
}

int repack_fp8(const struct repack_fp8 *r, struct pool *pool, void *dst)
{
	return run_bands(fp8_bands, r, dst, pool, r->rows) < r->rows ? -EDOM
								     : 0;
}

static void int8_bands(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	struct band_job *job = arg;
	const struct repack_int8 *r = job->r;
	size_t head = weight_formats[WEIGHT_INT8].head;

	(void)thread;
	end = band_end(end, r->rows);
	for (uint32_t row = first * TILE; row < end; row++) {
		uint8_t *p = job->dst + row * (head + r->cols);

		memcpy(p, &r->scale[row / r->per_rows], head);
		memcpy(p + head, r->code + (uint64_t)row * r->cols, r->cols);
	}
}

void repack_int8(const struct repack_int8 *r, struct pool *pool, void *dst)
{
	run_bands(int8_bands, r, dst, pool, r->rows);
}

/* Sizes are compared as bits: what is not finite is larger than what is. */
static int all_finite(const float *v, uint32_t n)
{
	uint32_t top = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t size = half_to_bits(v[i]) & 0x7fffffff;

		top = size > top ? size : top;
	}
	return top < 0x7f800000;
}

struct rounding {
	const struct weight *w;
	float *scratch; /* [threads][cols] */
};

static void rounded_bands(void *arg, uint32_t thread, uint32_t first,
			  uint32_t end)
{
	struct band_job *job = arg;
	const struct rounding *r = job->r;
	const struct weight *w = r->w;
	float *row = r->scratch + (size_t)thread * w->cols;
	size_t bytes = weight_row_bytes(WEIGHT_INT8, w->cols);

	end = band_end(end, w->rows);
	for (uint32_t i = first * TILE; i < end; i++) {
		weight_row(w, i, row);
		if (!all_finite(row, w->cols))
			found_bad(job, i);
		weight_formats[WEIGHT_INT8].pack(row, job->dst + i * bytes,
						 w->cols);
	}
}

int repack_rounded(const struct weight *w, struct pool *pool, void *dst,
		   uint32_t *ret_row)
{
	struct rounding r = {
		.w = w,
		.scratch = malloc((size_t)pool_threads(pool) * w->cols *
				  sizeof(float)),
	};

	if (!r.scratch)
		return -ENOMEM;
	*ret_row = run_bands(rounded_bands, &r, dst, pool, w->rows);
	free(r.scratch);
	return *ret_row < w->rows ? -EDOM : 0;
}

/* Bits @mask of @b change places with those of @a that are @shift higher. */
static void exchange(uint32_t *a, uint32_t *b, uint32_t shift, uint32_t mask)
{
	uint32_t t = (*a >> shift ^ *b) & mask;

	*b ^= t;
	*a ^= t << shift;
}

/* Eight words of eight codes: code j of word i becomes code i of word j. */
static void transpose(uint32_t w[8])
{
	for (uint32_t i = 0; i < 4; i++)
		exchange(w + i, w + i + 4, 16, 0x0000ffff);
	for (uint32_t i = 0; i < 8; i += i % 4 ? 3 : 1)
		exchange(w + i, w + i + 2, 8, 0x00ff00ff);
	for (uint32_t i = 0; i < 8; i += 2)
		exchange(w + i, w + i + 1, 4, 0x0f0f0f0f);
}

/* Eight columns from word @at on, words @step apart, into words of rows. */
static void eight_rows(const uint8_t *word, uint64_t at, uint64_t step,
		       uint32_t to, uint32_t tile[8][WORDS])
{
	uint32_t w[8];

	for (uint32_t k = 0; k < 8; k++)
		w[k] = word_at(word, at + k * step);
	transpose(w);
	for (uint32_t n = 0; n < 8; n++)
		tile[n][to] = w[awq_shift[n] / 4];
}

/* Rows from @row on, @nr of them, and columns from @col on, eight a word. */
static void take_tile(const struct repack_int4 *r, uint32_t row, uint32_t nr,
		      uint32_t col, uint32_t tile[TILE][WORDS])
{
	uint64_t rows = r->rows, at;

	switch (r->order) {
	case REPACK_GPTQ:
		for (uint32_t k = 0; k < WORDS; k++) {
			at = (col / 8 + k) * rows + row;
			for (uint32_t n = 0; n < nr; n++)
				tile[n][k] = word_at(r->word, at + n);
		}
		break;
	case REPACK_AWQ:
		for (uint32_t k = 0; k < WORDS; k++) {
			at = (col + 8 * k) * (rows / 8) + row / 8;
			for (uint32_t n = 0; n < nr; n += 8)
				eight_rows(r->word, at + n / 8, rows / 8, k,
					   tile + n);
		}
		break;
	case REPACK_ROWS:
		for (uint32_t n = 0; n < nr; n++) {
			at = ((uint64_t)row + n) * (r->cols / 8) + col / 8;
			memcpy(tile[n], r->word + 4 * at, sizeof(tile[n]));
		}
		break;
	}
}

static void int4_bands(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	struct band_job *job = arg;
	const struct repack_int4 *r = job->r;
	uint32_t bytes = weight_formats[WEIGHT_INT4].block_bytes;
	uint32_t blocks = r->cols / BLOCK128, groups = r->cols / r->group;
	uint32_t tile[TILE][WORDS];

	(void)thread;
	end = band_end(end, r->rows);
	for (uint32_t row = first * TILE; row < end; row += TILE) {
		uint32_t nr = end - row < TILE ? end - row : TILE;

		for (uint32_t b = 0; b < blocks; b++) {
			uint8_t *p = job->dst;

			take_tile(r, row, nr, b * TILE, tile);
			p += ((uint64_t)row * blocks + b) * bytes;
			for (uint32_t n = 0; n < nr; n++, p += blocks * bytes) {
				uint64_t at = ((uint64_t)row + n) * groups +
					      b * TILE / r->group;

				block128_put_int4(p, r->scale[at], r->zero[at],
						  tile[n]);
			}
		}
	}
}

void repack_int4(const struct repack_int4 *r, struct pool *pool, void *dst)
{
	run_bands(int4_bands, r, dst, pool, r->rows);
}

int repack_zeros(enum repack_order order, const uint8_t *word, uint32_t rows,
		 uint32_t groups, int less_one, uint8_t *ret)
{
	int all_8 = 1;

	for (uint32_t n = 0; n < rows; n++)
		for (uint32_t g = 0; g < groups; g++) {
			uint64_t at =
				order == REPACK_ROWS
					? (uint64_t)(n / 8) * groups + g
					: (uint64_t)g * (rows / 8) + n / 8;
			uint32_t shift = order == REPACK_AWQ ? awq_shift[n % 8]
							     : 4 * (n % 8);
			uint32_t z =
				(word_at(word, at) >> shift & 15) + !!less_one;

			ret[(uint64_t)n * groups + g] = (uint8_t)z;
			all_8 &= z == 8;
		}
	return all_8;
}
