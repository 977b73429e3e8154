/* SPDX-License-Identifier: MIT */
/*
 * repack.c - a tile of 128 rows and 128 columns at a time, so that what lies
 * column by column is read by whole cache lines.
 */
#include "daemon/model/repack.h"
#include "kernels/block128.h"
#include "kernels/formats.h"

#include <errno.h>
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

int repack_fp8(const struct repack_fp8 *r, void *dst)
{
	uint32_t blocks = r->cols / BLOCK128, nan = 0;
	const uint8_t *code = r->code;
	uint8_t *p = dst;

	for (uint32_t row = 0; row < r->rows; row++) {
		const float *scale =
			r->scale + (uint64_t)(row / r->per_rows) * r->nr_scales;

		for (uint32_t b = 0; b < blocks; b++, code += BLOCK128) {
			for (uint32_t i = 0; i < BLOCK128; i++)
				nan |= (code[i] & 0x7f) == 0x7f;
			block128_put_fp8(p, scale[r->nr_scales > 1 ? b : 0],
					 code);
			p += weight_formats[WEIGHT_FP8].block_bytes;
		}
	}
	return nan ? -EDOM : 0;
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

void repack_int4(const struct repack_int4 *r, void *dst)
{
	uint32_t bytes = weight_formats[WEIGHT_INT4].block_bytes;
	uint32_t blocks = r->cols / BLOCK128, groups = r->cols / r->group;
	uint32_t tile[TILE][WORDS];

	for (uint32_t row = 0; row < r->rows; row += TILE) {
		uint32_t nr = r->rows - row < TILE ? r->rows - row : TILE;

		for (uint32_t b = 0; b < blocks; b++) {
			uint8_t *p = dst;

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
