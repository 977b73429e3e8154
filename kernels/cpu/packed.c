/* SPDX-License-Identifier: MIT */
/*
 * packed.c - which tile goes where.  A panel of PACKED_UNIT rows (74 KB at k =
 * 4096 in Q4_0) stays in the second cache while the tiles of tokens, each in
 * the first, pass over it; with one tile of tokens it is as small as the tile,
 * so that rows interleaved just now are still in the first cache.
 */
#include "kernels/cpu/packed.h"

#include <assert.h>
#include <string.h>

#define MAX_GROUPS (PACKED_UNIT / PACKED_ROWS)

size_t packed_input_bytes(int wide, uint32_t cols, uint32_t tokens)
{
	return (size_t)(cols / 32) * tokens *
	       (wide ? PACKED_WIDE : PACKED_NARROW);
}

/* What does not change from tile to tile. */
struct job {
	const struct packed_set *set;
	enum weight_type type;
	uint32_t blocks; /* of a row */
	size_t ldy;
};

/* One tile at y; only @rows of its rows are there. */
static void one_tile(const struct job *j, uint32_t log_t, const uint8_t *w0,
		     const uint8_t *w1, const uint8_t *x, uint32_t rows,
		     float *y)
{
	packed_tile *tile = j->set->tile[PACKED_AT(j->type)][log_t];
	float part[PACKED_MAX_TOKENS][2 * PACKED_ROWS];

	if (rows >= j->set->groups * PACKED_ROWS) {
		tile(w0, w1, x, j->blocks, y, j->ldy);
		return;
	}
	tile(w0, w1, x, j->blocks, part[0], 2 * PACKED_ROWS);
	for (uint32_t t = 0; t < 1u << log_t; t++)
		memcpy(y + t * j->ldy, part[t], rows * sizeof(float));
}

/* @rows rows in groups @g; y: of the first of them */
static void panel(const struct job *j, const uint8_t *const *g, uint32_t rows,
		  const uint8_t *x, size_t x_row, uint32_t tokens, float *y)
{
	uint32_t step = j->set->groups * PACKED_ROWS, log_t = 0;

	while (2u << log_t <= j->set->max_tokens)
		log_t++;
	for (uint32_t t = 0; t < tokens; t += 1u << log_t) {
		while (1u << log_t > tokens - t)
			log_t--;
		for (uint32_t r = 0; r < rows; r += step) {
			uint32_t left = rows - r, i = r / PACKED_ROWS;

			one_tile(j, log_t, g[i],
				 left > PACKED_ROWS ? g[i + 1] : g[i],
				 x + t * x_row, left, y + t * j->ldy + r);
		}
	}
}

void packed_rows(const struct packed_set *set, const struct weight *w,
		 const uint8_t *fast, uint32_t first, uint32_t end,
		 const uint8_t *x, uint32_t tokens, float *y, size_t ldy,
		 uint8_t *scratch)
{
	const struct weight_format *f = &weight_formats[w->type];
	struct job j = { set, w->type, w->cols / f->block, ldy };
	size_t group = packed_group_bytes(w->type, w->cols);
	size_t x_row = packed_input_bytes(f->wide, w->cols, 1);
	uint32_t most = tokens <= set->max_tokens ? set->groups * PACKED_ROWS
						  : PACKED_UNIT;

	assert(first % PACKED_ROWS == 0);
	for (uint32_t r = first; r < end; r += most) {
		const uint8_t *g[MAX_GROUPS + 1];
		uint32_t rows = end - r < most ? end - r : most;

		for (uint32_t i = 0; i * PACKED_ROWS < rows; i++) {
			uint8_t *made = scratch + i * group;

			if (fast) {
				g[i] = fast + (r / PACKED_ROWS + i) * group;
				continue;
			}
			packed_interleave_avx2(w, r + i * PACKED_ROWS, made);
			g[i] = made;
		}
		panel(&j, g, rows, x, x_row, tokens, y + r);
	}
}
