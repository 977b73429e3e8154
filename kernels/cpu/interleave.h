/* SPDX-License-Identifier: MIT */
/*
 * interleave.h - packed weights with eight rows interleaved: a group, block by
 * block of the type.  First what scales, row by row, in the order of the type's
 * bytes in formats.h (F16 as they are, MXFP4's exponent as the F32 it stands
 * for, scales and minima of 6 bits a byte each), then the high bits, then the
 * low ones: vectors of 32 bytes, row r's four at 4r.  It takes 0 to 4 % more
 * memory than the rows did.
 */
#ifndef CPU_INTERLEAVE_H
#define CPU_INTERLEAVE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/formats.h"

#define PACKED_ROWS 8u /* of a group */

/* Bytes of a group of a packed type with @cols columns. */
size_t packed_group_bytes(enum weight_type type, uint32_t cols);

/*
 * Rows [first, first + 8) of @w, of which those past the end are the last one,
 * interleaved into @out, packed_group_bytes() long.
 */
void packed_interleave_avx2(const struct weight *w, uint32_t first,
			    uint8_t *out);

#endif
