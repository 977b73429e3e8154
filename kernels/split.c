/* SPDX-License-Identifier: MIT */
#include "kernels/split.h"

#include "kernels/half.h"

#include <string.h>

const int8_t iq4_nl_codes[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
				  1,	13,   25,  38,	53,  69,  89,  113 };
const int8_t mxfp4_codes[16] = { 0, 1,	2,  3,	4,  6,	8,  12,
				 0, -1, -2, -3, -4, -6, -8, -12 };

static float f16_at(const uint8_t *p)
{
	return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* 4-bit codes of a 32-block: the first half in the low nibbles; minus @less */
static void nibbles32(const uint8_t *q, int less, int8_t *code)
{
	for (int i = 0; i < 16; i++) {
		code[i] = (int8_t)((q[i] & 15) - less);
		code[i + 16] = (int8_t)((q[i] >> 4) - less);
	}
}

/* 4-bit codes of a 256-block: pairs of 32, low nibbles and high */
static void nibbles256(const uint8_t *q, int8_t *code)
{
	for (int i = 0; i < 128; i++) {
		int at = i / 32 * 64 + i % 32;

		code[at] = q[i] & 15;
		code[at + 32] = q[i] >> 4;
	}
}

void split_q8_0(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	memcpy(ret->code, p + 2, 32);
}

void split_q4_0(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	nibbles32(p + 2, 8, ret->code);
}

void split_q4_1(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	ret->min[0] = f16_at(p + 2);
	nibbles32(p + 4, 0, ret->code);
}

/* the fifth bits of a 32-block, bit i of @high for code i; minus @less */
static void fifth_bits(const uint8_t *high, int less, int8_t *code)
{
	for (int i = 0; i < 32; i++)
		code[i] = (int8_t)(code[i] + (high[i / 8] >> i % 8 & 1) * 16 -
				   less);
}

void split_q5_0(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	nibbles32(p + 6, 0, ret->code);
	fifth_bits(p + 2, 16, ret->code);
}

void split_q5_1(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	ret->min[0] = f16_at(p + 2);
	nibbles32(p + 8, 0, ret->code);
	fifth_bits(p + 4, 0, ret->code);
}

/* 2-bit codes of a 256-block: four runs of 32 share 32 bytes */
static void pairs256(const uint8_t *q, int8_t *code)
{
	for (int i = 0; i < 256; i++)
		code[i] = q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

void split_q2_k(const void *block, struct packed *ret)
{
	const uint8_t *p = block;
	float d = f16_at(p + 80), dmin = f16_at(p + 82);

	for (int i = 0; i < 16; i++) {
		ret->scale[i] = d * (float)(p[i] & 15);
		ret->min[i] = -(dmin * (float)(p[i] >> 4));
	}
	pairs256(p + 16, ret->code);
}

void split_q3_k(const void *block, struct packed *ret)
{
	const uint8_t *p = block, *sc = p + 96;
	float d = f16_at(p + 108);

	for (int i = 0; i < 16; i++) {
		int low = i < 8 ? sc[i] & 15 : sc[i - 8] >> 4;
		int high = sc[8 + i % 4] >> i / 4 * 2 & 3;

		ret->scale[i] = d * (float)((low | high << 4) - 32);
	}
	pairs256(p + 32, ret->code);
	for (int i = 0; i < 256; i++)
		ret->code[i] = (int8_t)(ret->code[i] +
					(p[i % 32] >> i / 32 & 1) * 4 - 4);
}

/* Q4_K's and Q5_K's head: d, dmin, eight scales and minima of 6 bits */
static void scales_k(const uint8_t *p, struct packed *ret)
{
	float d = f16_at(p), dmin = f16_at(p + 2);
	const uint8_t *s = p + 4;

	for (int i = 0; i < 8; i++) {
		int scale, min;

		if (i < 4) {
			scale = s[i] & 63;
			min = s[i + 4] & 63;
		} else {
			scale = (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
			min = s[i + 4] >> 4 | s[i] >> 6 << 4;
		}
		ret->scale[i] = d * (float)scale;
		ret->min[i] = -(dmin * (float)min);
	}
}

void split_q4_k(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	scales_k(p, ret);
	nibbles256(p + 16, ret->code);
}

void split_q5_k(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	scales_k(p, ret);
	nibbles256(p + 48, ret->code);
	for (int i = 0; i < 256; i++)
		ret->code[i] = (int8_t)(ret->code[i] +
					(p[16 + i % 32] >> i / 32 & 1) * 16);
}

void split_q6_k(const void *block, struct packed *ret)
{
	const uint8_t *low = block, *high = low + 128, *sc = low + 192;
	float d = f16_at(low + 208);

	for (int i = 0; i < 16; i++)
		ret->scale[i] = d * (float)(int8_t)sc[i];
	for (int i = 0; i < 256; i++) {
		int half = i / 128, in = i % 128; /* of 128; its place there */
		int l = low[half * 64 + in % 64] >> in / 64 * 4 & 15;
		int h = high[half * 32 + in % 32] >> in / 32 * 2 & 3;

		ret->code[i] = (int8_t)((l | h << 4) - 32);
	}
}

static void lookup32(const uint8_t *q, const int8_t codes[16], int8_t *code)
{
	nibbles32(q, 0, code);
	for (int i = 0; i < 32; i++)
		code[i] = codes[code[i]];
}

void split_iq4_nl(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = f16_at(p);
	lookup32(p + 2, iq4_nl_codes, ret->code);
}

float mxfp4_scale(uint8_t e)
{
	return half_from_bits(e < 2 ? 0x00200000u << e
				    : (uint32_t)(e - 1) << 23);
}

void split_mxfp4(const void *block, struct packed *ret)
{
	const uint8_t *p = block;

	ret->scale[0] = mxfp4_scale(p[0]);
	lookup32(p + 1, mxfp4_codes, ret->code);
}
