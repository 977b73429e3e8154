/* SPDX-License-Identifier: MIT */
#include "kernels/block128.h"

#include "kernels/half.h"
#include "kernels/split.h"

#include <math.h>
#include <string.h>

#define FP8_BYTES  (4 + BLOCK128)
#define INT4_HEAD  8 /* scale, zero, three bytes of nothing */
#define INT4_BYTES (INT4_HEAD + BLOCK128 / 2)
#define LEAST	   0x1p-100f /* below it all numbers of a block become 0 */

void block128_put_fp8(void *block, float scale, const uint8_t code[BLOCK128])
{
	uint8_t *p = block;

	memcpy(p, &scale, 4);
	memcpy(p + 4, code, BLOCK128);
}

/* Its nibbles in the lower halves of eight bytes. */
static uint64_t spread(uint32_t word)
{
	uint64_t u = word;

	u = (u | u << 16) & 0x0000ffff0000ffff;
	u = (u | u << 8) & 0x00ff00ff00ff00ff;
	return (u | u << 4) & 0x0f0f0f0f0f0f0f0f;
}

/* As Q4_K has them: of 64 codes the first 32 in the low nibbles. */
void block128_put_int4(void *block, float scale, uint8_t zero,
		       const uint32_t word[BLOCK128 / 8])
{
	uint8_t *p = block;

	memset(p, 0, INT4_HEAD);
	memcpy(p, &scale, 4);
	p[4] = zero;
	for (uint32_t i = 0; i < BLOCK128 / 16; i++) {
		const uint32_t *w = word + i / 4 * 8 + i % 4;
		uint64_t pairs = spread(w[0]) | spread(w[4]) << 4;

		memcpy(p + INT4_HEAD + 8 * i, &pairs, 8);
	}
}

uint8_t block128_zero(const void *block)
{
	return ((const uint8_t *)block)[4];
}

const uint8_t *block128_fp8(const void *block, float *ret_scale)
{
	memcpy(ret_scale, block, 4);
	return (const uint8_t *)block + 4;
}

void split_int4(const void *block, struct packed *ret)
{
	const uint8_t *p = block;
	float scale;

	memcpy(&scale, p, 4);
	for (uint32_t i = 0; i < BLOCK128 / 32; i++) {
		ret->scale[i] = scale;
		ret->min[i] = -(scale * (float)p[4]);
	}
	for (uint32_t i = 0; i < BLOCK128 / 2; i++) {
		int8_t *c = ret->code + i / 32 * 64 + i % 32;

		c[0] = p[INT4_HEAD + i] & 15;
		c[32] = (int8_t)(p[INT4_HEAD + i] >> 4);
	}
}

/* Its bits in F32's places are the number / 2^120; subnormal ones too. */
float e4m3_to_f32(uint8_t code)
{
	return half_from_bits((uint32_t)(code & 0x80) << 24 |
			      (uint32_t)(code & 0x7f) << 20) *
	       0x1p120f;
}

uint8_t f32_to_e4m3(float f)
{
	uint32_t u = half_to_bits(f), sign = u >> 24 & 0x80;
	float a = fabsf(f);

	if (!(a < 448))
		return (uint8_t)(sign | 0x7e);
	if (a < 0x1p-6f) /* units of 2^-9 */
		return (uint8_t)(sign | (uint32_t)rintf(a * 512));
	u = half_to_bits(a);
	u += 0x7ffff + (u >> 20 & 1);
	return (uint8_t)(sign | ((u >> 20) - (120 << 3)));
}

void unpack_fp8(const void *src, float *dst, size_t n)
{
	const uint8_t *p = src;
	float scale;

	for (size_t i = 0; i < n; i += BLOCK128, p += FP8_BYTES) {
		memcpy(&scale, p, 4);
		for (uint32_t j = 0; j < BLOCK128; j++)
			dst[i + j] = e4m3_to_f32(p[4 + j]) * scale;
	}
}

/* The number of largest size (the first of them), with its sign. */
static float largest(const float *x)
{
	float max = 0;

	for (uint32_t i = 0; i < BLOCK128; i++)
		if (fabsf(x[i]) > fabsf(max))
			max = x[i];
	return max;
}

void quantize_fp8(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst, code[BLOCK128];

	for (size_t i = 0; i < n; i += BLOCK128, p += FP8_BYTES) {
		float top = fabsf(largest(src + i));
		float inverse = top < LEAST ? 0 : 448 / top;

		for (uint32_t j = 0; j < BLOCK128; j++)
			code[j] = f32_to_e4m3(src[i + j] * inverse);
		block128_put_fp8(p, inverse > 0 ? top / 448 : 0, code);
	}
}

/* Without a zero point of its own: 8, and the largest number is at code 0. */
void quantize_int4(const float *src, void *dst, size_t n)
{
	uint8_t *p = dst;

	for (size_t i = 0; i < n; i += BLOCK128, p += INT4_BYTES) {
		float top = largest(src + i);
		float inverse = fabsf(top) < LEAST ? 0 : -8 / top;
		uint32_t word[BLOCK128 / 8] = { 0 };

		for (uint32_t j = 0; j < BLOCK128; j++) {
			float c = src[i + j] * inverse + 8.5f;

			word[j / 8] |= (c < 15 ? (uint32_t)c : 15)
				       << 4 * (j % 8);
		}
		block128_put_int4(p, inverse != 0 ? top / -8 : 0, 8, word);
	}
}

float int8_scale(const float *x, size_t n, float *ret_inverse)
{
	float top = 0;

	for (size_t i = 0; i < n; i++)
		top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
	*ret_inverse = top < LEAST ? 0 : 127 / top;
	return *ret_inverse > 0 ? top / 127 : 0;
}

int8_t int8_code(float x, float inverse)
{
	float c = x * inverse;

	return (int8_t)(c == c ? rintf(c) : 0);
}

void unpack_int8(const void *src, float *dst, size_t n)
{
	const int8_t *code = (const int8_t *)src + INT8_HEAD;
	float scale;

	memcpy(&scale, src, INT8_HEAD);
	for (size_t i = 0; i < n; i++)
		dst[i] = scale * (float)code[i];
}

void quantize_int8(const float *src, void *dst, size_t n)
{
	int8_t *code = (int8_t *)dst + INT8_HEAD;
	float inverse, scale = int8_scale(src, n, &inverse);

	memcpy(dst, &scale, INT8_HEAD);
	for (size_t i = 0; i < n; i++)
		code[i] = int8_code(src[i], inverse);
}
