/* SPDX-License-Identifier: MIT */
/*
 * block128.h - what safetensors files have and GGUF has not: FP8 and INT4 of
 * formats.h, in blocks of 128 numbers, and INT8, in rows.
 */
#ifndef KERNELS_BLOCK128_H
#define KERNELS_BLOCK128_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK128 128u

/*
 * One block, to memory of any alignment; codes of INT4 are eight a word, from
 * its lowest bits on.
 */
void block128_put_fp8(void *block, float scale, const uint8_t code[BLOCK128]);
void block128_put_int4(void *block, float scale, uint8_t zero,
		       const uint32_t word[BLOCK128 / 8]);

/* The zero point of an INT4 block; its scale is split_int4()'s. */
uint8_t block128_zero(const void *block);
/* Scale and codes of an FP8 block. */
const uint8_t *block128_fp8(const void *block, float *ret_scale);

/* e4m3: exactly; and to nearest even, at most 448. */
float e4m3_to_f32(uint8_t code);
uint8_t f32_to_e4m3(float f);

#define INT8_HEAD 4u /* bytes before the codes of a row: its scale */

/*
 * How @n numbers are rounded to a row of INT8, by P1 of ops.h over all of them:
 * their scale, and what they are multiplied with for their codes.  What is not
 * a number becomes 0.
 */
float int8_scale(const float *x, size_t n, float *ret_inverse);
int8_t int8_code(float x, float inverse);

/* Columns of formats.h's table: unpack, pack. */
void unpack_fp8(const void *src, float *dst, size_t n);
void quantize_fp8(const float *src, void *dst, size_t n);
void quantize_int4(const float *src, void *dst, size_t n);
void unpack_int8(const void *src, float *dst, size_t n);
void quantize_int8(const float *src, void *dst, size_t n);

#endif
