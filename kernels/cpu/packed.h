/* SPDX-License-Identifier: MIT */
/*
 * packed.h - products with packed weights (P1 to P3 of ops.h) in the cpu op
 * sets.  Lanes are rows: as many rows of the weights as there are lanes, 8 or
 * 16, are interleaved, so that one load holds four neighbouring codes of each of
 * them, and four codes of the input are broadcast against it.  Nothing is ever
 * added across lanes, one token and many are the same code, and since the sums
 * of a run are exact integers, every instruction set gives the same bits.
 *
 * The input: tiles of tokens, the largest first (8, if the set has it, 4, 2,
 * 1); a tile of T is a record for each 32 numbers, 4-byte fields then codes:
 *	narrow	s[T], -8 * sum[T], s * sum[T], -32 * sum of the first 16 [T],
 *		the same of the last 16 [T], codes i8[T][32]
 *	wide	s[T], codes i16[T][32], each four as 0 2 1 3
 * and for P3, where a row has one scale, s[T], -128 * sum[T] of the whole row,
 * then for each 32 numbers, the last made up with zeros,
 *	row 8	codes i8[T][32]
 *	row 16	codes i16[T][32] as in wide
 */
#ifndef CPU_PACKED_H
#define CPU_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/interleave.h"
#include "kernels/formats.h"

#define PACKED_UNIT	  32u /* rows that a thread takes at least */
#define PACKED_MAX_TOKENS 8u  /* of a tile */
#define PACKED_NARROW	  52u /* bytes of a record, each token */
#define PACKED_WIDE	  68u
#define PACKED_ROW_HEAD	  8u /* bytes before all of a row, each token */
#define NR_PACKED_TYPES	  (NR_WEIGHT_TYPES - NR_PLAIN_TYPES)
#define PACKED_AT(type)	  ((type)-NR_PLAIN_TYPES) /* in tables of these */

/* Forms of the input. */
enum packed_form {
	PACKED_FORM_NARROW,
	PACKED_FORM_WIDE,
	PACKED_FORM_ROW8,
	PACKED_FORM_ROW16,
	NR_PACKED_FORMS
};

/*
 * y[t * ldy + r] = w row r . x row t for the rows of group @w (r from 0) and the
 * tile's tokens; @blocks of the type in a row (of INT8 32 numbers each).
 */
typedef void packed_tile(const uint8_t *w, const uint8_t *x, uint32_t blocks,
			 float *y, size_t ldy);

/* What an instruction set brings. */
struct packed_set {
	uint32_t rows;	      /* of a group and a tile: 8 or 16 */
	uint32_t max_tokens;  /* of a tile: 4 or 8 */
	enum packed_form row; /* the one of P3 */
	/* by type (from NR_PLAIN_TYPES) and tokens: 1, 2, 4, 8 */
	packed_tile *tile[NR_PACKED_TYPES][4];
};

extern const struct packed_set packed_avx2, packed_avx512, packed_vnni;

/* The form that products with @type want in @set. */
enum packed_form packed_form(const struct packed_set *set,
			     enum weight_type type);
/* Whether its codes have 16 bits. */
static inline int packed_is_wide(enum packed_form form)
{
	return form == PACKED_FORM_WIDE || form == PACKED_FORM_ROW16;
}

/* Bytes of the input of @tokens rows of @cols. */
size_t packed_input_bytes(enum packed_form form, uint32_t cols,
			  uint32_t tokens);

/*
 * P1: row @t of @tokens, @cols long, at its place in the input @x of a set
 * with tiles of at most @max_tokens.
 */
void packed_quantize_avx2(const float *row, uint32_t cols,
			  enum packed_form form, uint32_t t, uint32_t tokens,
			  uint32_t max_tokens, uint8_t *x);

/*
 * y[t][r] = w[r] . x[t] for rows [first, end) of @w and t < @tokens; y is
 * indexed by r itself; @first is a multiple of the set's rows.  @fast: the rows
 * interleaved, or NULL, then they are, PACKED_UNIT at a time, into @scratch.
 */
void packed_rows(const struct packed_set *set, const struct weight *w,
		 const uint8_t *fast, uint32_t first, uint32_t end,
		 const uint8_t *x, uint32_t tokens, float *y, size_t ldy,
		 uint8_t *scratch);

#endif
