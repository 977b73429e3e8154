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

enum packed_form packed_form(const struct packed_set *set,
			     enum weight_type type)
{
	if (type == WEIGHT_INT8)
		return set->row;
	return weight_formats[type].wide ? PACKED_FORM_WIDE
					 : PACKED_FORM_NARROW;
}

size_t packed_input_bytes(enum packed_form form, uint32_t cols, uint32_t tokens)
{
	static const uint32_t record[NR_PACKED_FORMS] = { PACKED_NARROW,
							  PACKED_WIDE, 32, 64 };
	uint32_t head = form >= PACKED_FORM_ROW8 ? PACKED_ROW_HEAD : 0;

	return tokens * (head + (size_t)((cols + 31) / 32) * record[form]);
}

/* What does not change from tile to tile. */
struct job {
	const struct packed_set *set;
	enum weight_type type;
	uint32_t blocks; /* of a row */
	size_t group;	 /* its bytes */
	size_t ldy;
};

/* One tile at y; only @rows of its rows are there. */
static void one_tile(const struct job *j, uint32_t log_t, const uint8_t *w,
		     const uint8_t *x, uint32_t rows, float *y)
{
	packed_tile *tile = j->set->tile[PACKED_AT(j->type)][log_t];
	float part[PACKED_MAX_TOKENS][PACKED_MAX_ROWS];

	if (rows >= j->set->rows) {
		tile(w, x, j->blocks, y, j->ldy);
		return;
	}
	tile(w, x, j->blocks, part[0], PACKED_MAX_ROWS);
	for (uint32_t t = 0; t < 1u << log_t; t++)
		memcpy(y + t * j->ldy, part[t], rows * sizeof(float));
}

/* @rows rows in groups from @w on; y: of the first of them */
static void panel(const struct job *j, const uint8_t *w, uint32_t rows,
		  const uint8_t *x, size_t x_row, uint32_t tokens, float *y)
{
	uint32_t log_t = 0;

	while (2u << log_t <= j->set->max_tokens)
		log_t++;
	for (uint32_t t = 0; t < tokens; t += 1u << log_t) {
		while (1u << log_t > tokens - t)
			log_t--;
		for (uint32_t r = 0; r < rows; r += j->set->rows)
			one_tile(j, log_t, w + r / j->set->rows * j->group,
				 x + t * x_row, rows - r, y + t * j->ldy + r);
	}
}

void packed_rows(const struct packed_set *set, const struct weight *w,
		 const uint8_t *fast, uint32_t first, uint32_t end,
		 const uint8_t *x, uint32_t tokens, float *y, size_t ldy,
		 uint8_t *scratch)
{
	struct job j = { set, w->type, packed_blocks(w->type, w->cols),
			 packed_group_bytes(w->type, w->cols, set->rows), ldy };
	size_t x_row =
		packed_input_bytes(packed_form(set, w->type), w->cols, 1);
	uint32_t most = tokens <= set->max_tokens ? set->rows : PACKED_UNIT;

	assert(first % set->rows == 0);
	for (uint32_t r = first; r < end; r += most) {
		const uint8_t *g = scratch;
		uint32_t rows = end - r < most ? end - r : most;

		if (fast)
			g = fast + r / set->rows * j.group;
		for (uint32_t i = 0; !fast && i < rows; i += set->rows)
			packed_interleave_avx2(w, r + i, set->rows,
					       scratch +
						       i / set->rows * j.group);
		panel(&j, g, rows, x, x_row, tokens, y + r);
	}
}
