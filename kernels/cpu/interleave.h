/* SPDX-License-Identifier: MIT */
/*
 * interleave.h - packed weights with rows interleaved, 8 (as many as AVX2 has
 * lanes) or 16: a group, block by block of the type.  First what scales, row by
 * row, in the order of the type's bytes in formats.h (F16 as they are, MXFP4's
 * exponent as the F32 it stands for, INT4's zero as the minimum it stands for,
 * scales and minima of 6 bits a byte each), then the high bits, then the low
 * ones: vectors of four bytes of each row, row r's at 4r.  It takes 0 to 4 %
 * more memory than the rows did.  Of INT8 the scales of the rows come first,
 * then blocks of 32 numbers, of which those past the end of a row are 0.
 */
#ifndef CPU_INTERLEAVE_H
#define CPU_INTERLEAVE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/formats.h"

#define PACKED_MAX_ROWS 16u /* of a group */

/* Blocks of a row of @cols columns. */
uint32_t packed_blocks(enum weight_type type, uint32_t cols);
/* Bytes of a group of @rows rows of a packed type with @cols columns. */
size_t packed_group_bytes(enum weight_type type, uint32_t cols, uint32_t rows);

/*
 * Rows [first, first + rows) of @w, 8 or 16, of which those past the end are
 * the last one, interleaved into @out, packed_group_bytes() long.
 */
void packed_interleave_avx2(const struct weight *w, uint32_t first,
			    uint32_t rows, uint8_t *out);

#endif
