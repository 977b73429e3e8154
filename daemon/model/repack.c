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

#define TILE BLOCK128

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

/* Eight codes of row @n of the tile. */
static void eight_columns(uint32_t w, uint8_t *code)
{
	for (uint32_t i = 0; i < 8; i++)
		code[i] = w >> 4 * i & 15;
}

/* Rows from @row on, @nr of them, and columns from @col on. */
static void take_tile(const struct repack_int4 *r, uint32_t row, uint32_t nr,
		      uint32_t col, uint8_t code[TILE][TILE])
{
	uint64_t rows = r->rows, at;

	switch (r->order) {
	case REPACK_GPTQ:
		for (uint32_t k = 0; k < TILE; k += 8) {
			at = (col + k) / 8 * rows + row;
			for (uint32_t n = 0; n < nr; n++)
				eight_columns(word_at(r->word, at + n),
					      code[n] + k);
		}
		break;
	case REPACK_AWQ:
		for (uint32_t k = 0; k < TILE; k++) {
			at = (col + k) * (rows / 8) + row / 8;
			for (uint32_t n = 0; n < nr; n++)
				code[n][k] = word_at(r->word, at + n / 8) >>
						     awq_shift[n % 8] &
					     15;
		}
		break;
	case REPACK_ROWS:
		for (uint32_t n = 0; n < nr; n++) {
			at = ((uint64_t)row + n) * (r->cols / 8) + col / 8;
			for (uint32_t k = 0; k < TILE; k += 8)
				eight_columns(word_at(r->word, at + k / 8),
					      code[n] + k);
		}
		break;
	}
}

void repack_int4(const struct repack_int4 *r, void *dst)
{
	uint32_t bytes = weight_formats[WEIGHT_INT4].block_bytes;
	uint32_t blocks = r->cols / BLOCK128, groups = r->cols / r->group;
	uint8_t code[TILE][TILE];

	for (uint32_t row = 0; row < r->rows; row += TILE) {
		uint32_t nr = r->rows - row < TILE ? r->rows - row : TILE;

		for (uint32_t b = 0; b < blocks; b++) {
			uint8_t *p = dst;

			take_tile(r, row, nr, b * TILE, code);
			p += ((uint64_t)row * blocks + b) * bytes;
			for (uint32_t n = 0; n < nr; n++, p += blocks * bytes) {
				uint64_t at = ((uint64_t)row + n) * groups +
					      b * TILE / r->group;

				block128_put_int4(p, r->scale[at], r->zero[at],
						  code[n]);
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
