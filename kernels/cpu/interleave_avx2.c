/* SPDX-License-Identifier: MIT */
/*
 * interleave_avx2.c - codes move as dwords, a 4 x 4 transposition in each half
 * of a register; the rest is little.  Eight rows go at a time; in a group of 16
 * what one eight have is followed by the same of the other.
 */
#include "kernels/cpu/interleave.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/split.h"

#define ROWS 8u	 /* at a time */
#define RUN8 32u /* numbers of INT8 that are a block here */

/* Bytes of a block of each of eight rows */
static uint32_t eight_blocks(enum weight_type type)
{
	switch (type) {
	case WEIGHT_MXFP4: /* its scale as F32 */
		return 160;
	case WEIGHT_Q3_K: /* scales as bytes */
		return 912;
	case WEIGHT_Q4_K:
		return 1184;
	case WEIGHT_Q5_K:
		return 1440;
	case WEIGHT_INT8:
		return ROWS * RUN8;
	default:
		return ROWS * weight_formats[type].block_bytes;
	}
}

uint32_t packed_blocks(enum weight_type type, uint32_t cols)
{
	return type == WEIGHT_INT8 ? (cols + RUN8 - 1) / RUN8
				   : cols / weight_formats[type].block;
}

size_t packed_group_bytes(enum weight_type type, uint32_t cols, uint32_t rows)
{
	size_t head = (size_t)ROWS * weight_formats[type].head;

	return (head + packed_blocks(type, cols) * (size_t)eight_blocks(type)) *
	       (rows / ROWS);
}

/* Rows' blocks: row[r] + at; they are the half-th of @halves eights */
struct rows {
	const uint8_t *row[ROWS];
	uint32_t halves, half;
};

/* Where the i-th vector goes, @bytes of eight rows each, those at @out first */
INLINE uint8_t *place(const struct rows *w, uint8_t *out, uint32_t i,
		      uint32_t bytes)
{
	return out + (size_t)(i * w->halves + w->half) * bytes;
}

/* Where what follows @n such vectors begins */
INLINE uint8_t *after(const struct rows *w, uint8_t *out, uint32_t n,
		      uint32_t bytes)
{
	return out + (size_t)(n * w->halves) * bytes;
}

/* 16 bytes of each row: four vectors of four bytes a row; returns their end */
INLINE uint8_t *turn16(const struct rows *w, size_t at, uint8_t *out)
{
	__m256i v[4], t[4];

#pragma GCC unroll 4
	for (int r = 0; r < 4; r++)
		v[r] = _mm256_inserti128_si256(
			_mm256_castsi128_si256(_mm_loadu_si128(
				(const void *)(w->row[r] + at))),
			_mm_loadu_si128((const void *)(w->row[r + 4] + at)), 1);
	t[0] = _mm256_unpacklo_epi32(v[0], v[1]);
	t[1] = _mm256_unpackhi_epi32(v[0], v[1]);
	t[2] = _mm256_unpacklo_epi32(v[2], v[3]);
	t[3] = _mm256_unpackhi_epi32(v[2], v[3]);
	v[0] = _mm256_unpacklo_epi64(t[0], t[2]);
	v[1] = _mm256_unpackhi_epi64(t[0], t[2]);
	v[2] = _mm256_unpacklo_epi64(t[1], t[3]);
	v[3] = _mm256_unpackhi_epi64(t[1], t[3]);
#pragma GCC unroll 4
	for (uint32_t r = 0; r < 4; r++)
		_mm256_storeu_si256((void *)place(w, out, r, 32), v[r]);
	return after(w, out, 4, 32);
}

INLINE uint8_t *turn(const struct rows *w, size_t at, uint32_t bytes,
		     uint8_t *out)
{
	for (uint32_t i = 0; i < bytes; i += 16)
		out = turn16(w, at + i, out);
	return out;
}

/* An F16 of each row */
INLINE uint8_t *f16s(const struct rows *w, size_t at, uint8_t *out)
{
	for (uint32_t r = 0; r < ROWS; r++)
		memcpy(place(w, out, 0, 16) + 2 * r, w->row[r] + at, 2);
	return after(w, out, 1, 16);
}

/*
 * Bits 0..31 of each row: byte i of a row gets bits i, i + 4, .. i + 28, which
 * belong to the codes that share a byte of the vectors.
 */
INLINE uint8_t *fifth_bits(const struct rows *w, size_t at, uint8_t *out)
{
	__m256i v, sum = _mm256_setzero_si256();
	uint32_t d[ROWS];

	for (uint32_t r = 0; r < ROWS; r++)
		memcpy(&d[r], w->row[r] + at, 4);
	v = _mm256_loadu_si256((const void *)d);
#pragma GCC unroll 4
	for (int i = 3; i >= 0; i--) {
		__m256i b = _mm256_and_si256(_mm256_srli_epi32(v, i),
					     _mm256_set1_epi32(0x11111111));

		b = _mm256_or_si256(b, _mm256_srli_epi32(b, 3));
		b = _mm256_and_si256(b, _mm256_set1_epi32(0x03030303));
		b = _mm256_or_si256(b, _mm256_srli_epi32(b, 6));
		b = _mm256_and_si256(b, _mm256_set1_epi32(0x000f000f));
		b = _mm256_or_si256(b, _mm256_srli_epi32(b, 12));
		b = _mm256_and_si256(b, _mm256_set1_epi32(0xff));
		sum = _mm256_or_si256(_mm256_slli_epi32(sum, 8), b);
	}
	_mm256_storeu_si256((void *)place(w, out, 0, 32), sum);
	return after(w, out, 1, 32);
}

/* Q4_K and Q5_K: d, dmin; 8 scales, 8 minima of each row, a byte each */
INLINE uint8_t *head_k(const struct rows *w, uint8_t *out)
{
	uint8_t *scale = f16s(w, 2, f16s(w, 0, out));
	uint8_t *min = after(w, scale, 8, ROWS);

	for (uint32_t r = 0; r < ROWS; r++) {
		uint32_t u[3], s[2], m[2];

		memcpy(u, w->row[r] + 4, 12);
		s[0] = u[0] & 0x3f3f3f3f;
		m[0] = u[1] & 0x3f3f3f3f;
		s[1] = (u[2] & 0x0f0f0f0f) | (u[0] >> 2 & 0x30303030);
		m[1] = (u[2] >> 4 & 0x0f0f0f0f) | (u[1] >> 2 & 0x30303030);
		for (uint32_t i = 0; i < 8; i++) {
			place(w, scale, i, ROWS)[r] =
				(uint8_t)(s[i / 4] >> i % 4 * 8);
			place(w, min, i, ROWS)[r] =
				(uint8_t)(m[i / 4] >> i % 4 * 8);
		}
	}
	return after(w, min, 8, ROWS);
}

/* 16 bytes of each row, a vector of rows for each */
INLINE uint8_t *bytes16(const struct rows *w, size_t at, uint8_t *out)
{
	for (uint32_t r = 0; r < ROWS; r++)
		for (uint32_t i = 0; i < 16; i++)
			place(w, out, i, ROWS)[r] = w->row[r][at + i];
	return after(w, out, 16, ROWS);
}

/* Q3_K's scales of 6 bits, less 32 */
INLINE uint8_t *scales_q3(const struct rows *w, size_t at, uint8_t *out)
{
	for (uint32_t r = 0; r < ROWS; r++) {
		const uint8_t *s = w->row[r] + at;

		for (uint32_t i = 0; i < 16; i++) {
			int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
			int high = s[8 + i % 4] >> i / 4 * 2 & 3;

			place(w, out, i, ROWS)[r] =
				(uint8_t)((low | high << 4) - 32);
		}
	}
	return after(w, out, 16, ROWS);
}

INLINE uint8_t *f32s_mxfp4(const struct rows *w, uint8_t *out)
{
	for (uint32_t r = 0; r < ROWS; r++) {
		float scale = mxfp4_scale(w->row[r][0]);

		memcpy(place(w, out, 0, 32) + 4 * r, &scale, 4);
	}
	return after(w, out, 1, 32);
}

/* INT4: scale and minimum of each row */
INLINE uint8_t *head_int4(const struct rows *w, uint8_t *out)
{
	uint8_t *min = after(w, out, 1, 32);

	for (uint32_t r = 0; r < ROWS; r++) {
		float scale, m;

		memcpy(&scale, w->row[r], 4);
		m = -(scale * (float)w->row[r][4]);
		memcpy(place(w, out, 0, 32) + 4 * r, &scale, 4);
		memcpy(place(w, min, 0, 32) + 4 * r, &m, 4);
	}
	return after(w, min, 1, 32);
}

/* One block of each row; returns its end in @out. */
INLINE uint8_t *block(const enum weight_type type, const struct rows *w,
		      uint8_t *out)
{
	switch (type) {
	case WEIGHT_Q8_0:
		return turn(w, 2, 32, f16s(w, 0, out));
	case WEIGHT_Q4_1:
		return turn(w, 4, 16, f16s(w, 2, f16s(w, 0, out)));
	case WEIGHT_Q5_0:
		return turn(w, 6, 16, fifth_bits(w, 2, f16s(w, 0, out)));
	case WEIGHT_Q5_1:
		return turn(w, 8, 16,
			    fifth_bits(w, 4, f16s(w, 2, f16s(w, 0, out))));
	case WEIGHT_Q2_K:
		return turn(w, 16, 64,
			    bytes16(w, 0, f16s(w, 82, f16s(w, 80, out))));
	case WEIGHT_Q3_K:
		return turn(w, 0, 96, scales_q3(w, 96, f16s(w, 108, out)));
	case WEIGHT_Q4_K:
		return turn(w, 16, 128, head_k(w, out));
	case WEIGHT_Q5_K:
		return turn(w, 16, 160, head_k(w, out));
	case WEIGHT_Q6_K:
		return turn(w, 0, 128,
			    turn(w, 128, 64,
				 bytes16(w, 192, f16s(w, 208, out))));
	case WEIGHT_MXFP4:
		return turn(w, 1, 16, f32s_mxfp4(w, out));
	case WEIGHT_INT4:
		return turn(w, 8, 64, head_int4(w, out));
	default: /* Q4_0, IQ4_NL */
		return turn(w, 2, 16, f16s(w, 0, out));
	}
}

/*
 * Rows are short beside the distance between them; where a group's bytes
 * follow each other, those of the next are fetched in the order they lie.
 */
INLINE void blocks(const enum weight_type type, struct rows *w, uint32_t n,
		   const char *next, uint8_t *out)
{
	const uint32_t bytes = weight_formats[type].block_bytes;

	for (uint32_t b = 0; b < n; b++) {
		for (uint32_t i = 0; i < ROWS * bytes; i += 64)
			_mm_prefetch(next + i, _MM_HINT_T0);
		next += ROWS * bytes;
		out = block(type, w, out);
		for (uint32_t r = 0; r < ROWS; r++)
			w->row[r] += bytes;
	}
}

/* INT8: @cols numbers behind the scales, what is past them made 0. */
static void whole_rows(struct rows *w, uint32_t cols, uint8_t *out)
{
	uint8_t tail[ROWS][RUN8] = { 0 };

	for (uint32_t r = 0; r < ROWS; r++) {
		memcpy(place(w, out, 0, 32) + 4 * r, w->row[r], 4);
		w->row[r] += 4;
	}
	out = after(w, out, 1, 32);
	for (uint32_t k = 0; k + RUN8 <= cols; k += RUN8)
		out = turn(w, k, RUN8, out);
	if (cols % RUN8 == 0)
		return;
	for (uint32_t r = 0; r < ROWS; r++) {
		memcpy(tail[r], w->row[r] + cols - cols % RUN8, cols % RUN8);
		w->row[r] = tail[r];
	}
	turn(w, 0, RUN8, out);
}

#define CASE(type)                                                             \
	case type:                                                             \
		blocks(type, &eight, n, next, out);                            \
		break

/* Eight rows from @first on, the half-th of @halves eights of a group */
static void interleave8(const struct weight *w, uint32_t first, uint32_t halves,
			uint32_t half, uint8_t *out)
{
	const char *next =
		(const char *)w->data + (size_t)(first + ROWS) * w->row_stride;
	uint32_t n = packed_blocks(w->type, w->cols);
	struct rows eight = { .halves = halves, .half = half };

	for (uint32_t r = 0; r < ROWS; r++) {
		uint32_t at = first + r < w->rows ? first + r : w->rows - 1;

		eight.row[r] = (const uint8_t *)w->data + at * w->row_stride;
	}
	switch (w->type) {
		CASE(WEIGHT_Q8_0);
		CASE(WEIGHT_Q4_0);
		CASE(WEIGHT_Q4_1);
		CASE(WEIGHT_Q5_0);
		CASE(WEIGHT_Q5_1);
		CASE(WEIGHT_Q2_K);
		CASE(WEIGHT_Q3_K);
		CASE(WEIGHT_Q4_K);
		CASE(WEIGHT_Q5_K);
		CASE(WEIGHT_Q6_K);
		CASE(WEIGHT_IQ4_NL);
		CASE(WEIGHT_MXFP4);
		CASE(WEIGHT_INT4);
	case WEIGHT_INT8:
		whole_rows(&eight, w->cols, out);
		break;
	default:
		break;
	}
}

void packed_interleave_avx2(const struct weight *w, uint32_t first,
			    uint32_t rows, uint8_t *out)
{
	for (uint32_t i = 0; i < rows / ROWS; i++)
		interleave8(w, first + i * ROWS, rows / ROWS, i, out);
}
