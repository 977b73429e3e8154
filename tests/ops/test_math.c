/* SPDX-License-Identifier: MIT */
/* The small functions: conversions, exponential, masses, noise. */
#include "kernels/expf.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/noise.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What the bits of a 16-bit float mean, by IEEE 754's formula. */
static double meaning(uint32_t h, int exponent_bits)
{
	int fraction_bits = 15 - exponent_bits;
	uint32_t exponent = h >> fraction_bits & ((1u << exponent_bits) - 1);
	uint32_t fraction = h & ((1u << fraction_bits) - 1);
	int bias = (1 << (exponent_bits - 1)) - 1;
	double v;

	if (exponent == (1u << exponent_bits) - 1)
		v = fraction ? NAN : INFINITY;
	else if (exponent)
		v = ldexp(1 + ldexp(fraction, -fraction_bits),
			  (int)exponent - bias);
	else
		v = ldexp(fraction, 1 - bias - fraction_bits);
	return h & 0x8000 ? -v : v;
}

TEST(every_16_bit_float_widens_exactly_and_comes_back)
{
	for (uint32_t h = 0; h < 65536; h++) {
		double f16 = meaning(h, 5), bf16 = meaning(h, 8);
		float a = f16_to_f32((uint16_t)h), b = bf16_to_f32((uint16_t)h);

		if (isnan(f16)) {
			CHECK(isnan(a));
			CHECK_EQ(f32_to_f16(a), h | 0x200);
		} else {
			CHECK(a == f16 && !signbit(a) == !signbit(f16));
			CHECK_EQ(f32_to_f16(a), h);
		}
		if (isnan(bf16)) {
			CHECK(isnan(b));
			CHECK_EQ(f32_to_bf16(b), h | 0x40);
		} else {
			CHECK(b == bf16 && !signbit(b) == !signbit(bf16));
			CHECK_EQ(f32_to_bf16(b), h);
		}
	}
}

/* Between neighbours: below, at and above the middle. */
TEST(narrowing_rounds_to_nearest_even)
{
	for (uint32_t h = 0; h < 0x7c00; h++) {
		double lo = meaning(h, 5);
		double hi = h == 0x7bff ? 65536 : meaning(h + 1, 5);
		float mid = (float)((lo + hi) / 2); /* exact */

		CHECK_EQ(f32_to_f16(mid), h + (h & 1));
		CHECK_EQ(f32_to_f16(nextafterf(mid, 0)), h);
		CHECK_EQ(f32_to_f16(nextafterf(mid, 1e9f)), h + 1);
		CHECK_EQ(f32_to_f16(-mid), 0x8000 | (h + (h & 1)));
	}
	for (uint32_t h = 0; h < 0x7f7f; h++) {
		float mid = half_from_bits(h << 16 | 0x8000);

		CHECK_EQ(f32_to_bf16(mid), h + (h & 1));
		CHECK_EQ(f32_to_bf16(nextafterf(mid, 0)), h);
		CHECK_EQ(f32_to_bf16(nextafterf(mid, INFINITY)), h + 1);
	}
	CHECK_EQ(f32_to_f16(INFINITY), 0x7c00);
	CHECK_EQ(f32_to_f16(1e30f), 0x7c00);
	CHECK_EQ(f32_to_bf16(3.4e38f), 0x7f80);
}

TEST(formats_unpack_what_the_tables_say)
{
	const uint16_t f16[] = { 0x3c00, 0xc000, 0x0001 };
	const uint16_t bf16[] = { 0x3f80, 0xc000, 0x0001 };
	const float f32[] = { 1, -2, 0.1f };
	float out[3];
	char raw[16];

	memcpy(raw + 1, f16, 6); /* any alignment */
	weight_formats[WEIGHT_F16].unpack(raw + 1, out, 3);
	CHECK(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
	memcpy(raw + 1, bf16, 6);
	weight_formats[WEIGHT_BF16].unpack(raw + 1, out, 3);
	CHECK(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-133f);
	memcpy(raw + 1, f32, 12);
	weight_formats[WEIGHT_F32].unpack(raw + 1, out, 3);
	CHECK(!memcmp(out, f32, 12));
	CHECK_EQ(weight_row_bytes(WEIGHT_BF16, 80), 160);
	CHECK_EQ(weight_row_bytes(WEIGHT_F32, 80), 320);
}

TEST(exp_is_within_its_stated_error)
{
	double worst = 0;

	for (float x = 0; x >= -87; x -= 0.0003f) {
		double want = exp((double)x);

		worst = fmax(worst, fabs(exp_neg(x) - want) / want);
	}
	CHECK(worst < 1.1e-7);
	CHECK(exp_neg(0) == 1);
	CHECK(exp_neg(-0.0f) == 1);
	CHECK(exp_neg(-87) > 0);
	CHECK(exp_neg(nextafterf(-87, -88)) == 0);
	CHECK(exp_neg(-INFINITY) == 0);
}

TEST(silu_is_within_its_error_far_out_too)
{
	for (float g = -200; g <= 200; g += 0.013f) {
		double want = (double)g / (1 + exp(-(double)g)) * 3;

		CHECK(fabs(silu_mul(g, 3) - want) <= 3e-7 * fabs(want) + 1e-34);
	}
	CHECK(silu_mul(-INFINITY, 1) != silu_mul(-INFINITY, 1) ||
	      silu_mul(-INFINITY, 1) == 0);
}

TEST(masses_are_e_in_units_of_2_to_the_minus_40)
{
	CHECK_EQ(exp_mass(0), 0);
	CHECK_EQ(exp_mass(1), 1ll << 40);
	CHECK_EQ(exp_mass(0x1p-40f), 1);
	CHECK_EQ(exp_mass(0x1p-41f), 0);   /* a half: to even */
	CHECK_EQ(exp_mass(0x1.8p-40f), 2); /* one and a half: to even */
	CHECK_EQ(exp_mass(0x1.4p-39f), 2);
	CHECK_EQ(exp_mass(0.75f), 3ll << 38);
	CHECK_EQ(exp_mass(0x1.000002p0f), (1ll << 40) + (1ll << 17));
}

/* Known answers of Random123's own test (kat_vectors, philox4x32 10). */
TEST(philox_gives_the_published_answers)
{
	static const struct {
		uint32_t counter[4], key[2], want[4];
	} rows[] = {
		{ { 0, 0, 0, 0 },
		  { 0, 0 },
		  { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
		  { 0xffffffff, 0xffffffff },
		  { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
		  { 0xa4093822, 0x299f31d0 },
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint32_t c[4];

		memcpy(c, rows[i].counter, sizeof(c));
		noise_philox(c, rows[i].key[0], rows[i].key[1]);
		CHECK(!memcmp(c, rows[i].want, sizeof(c)));
	}
}

TEST(log_is_within_two_ulp)
{
	uint64_t z = 1;

	for (int i = 0; i < 2000000; i++) {
		double x, want, got;

		z = z * 6364136223846793005ull + 1442695040888963407ull;
		x = ldexp((double)(z >> 11) + 1, -53 + (int)(z & 63) % 45);
		if (i % 3 == 0) /* near 1, from both sides */
			x = 1 + ldexp((double)(int64_t)(z >> 12) - 0x1p51,
				      -52 - (int)(z & 31));
		want = (double)logl(x);
		got = noise_log(x);
		CHECK(fabs(got - want) <=
		      2 * (nextafter(fabs(want), INFINITY) - fabs(want)));
	}
	CHECK(noise_log(1) == 0);
}

TEST(gumbel_noise_has_its_moments_its_range_and_its_tail)
{
	const double euler = 0.57721566490153286, pi = 3.14159265358979323846;
	uint32_t n = 1 << 20, above = 0;
	double sum = 0, square = 0;

	for (uint32_t i = 0; i < n; i++) {
		double g = noise_gumbel(i / 1000, i % 10, i % 1000);

		sum += g;
		square += (g - euler) * (g - euler);
		above += g > 7; /* 1 - exp(-exp(-7)) = 9.1e-4 */
	}
	CHECK(fabs(sum / n - euler) < 4 * 1.29 / sqrt(n));
	CHECK(fabs(square / n - pi * pi / 6) < 0.015);
	CHECK(fabs(above - n * 9.1146e-4) < 4 * sqrt(n * 9.1e-4));
	/* the ends: all bits 0, all bits 1 */
	CHECK(noise_uniform(0) == 0x1p-53);
	CHECK(noise_uniform(UINT64_MAX) == 1 - 0x1p-53);
	CHECK(fabs(-noise_log(-noise_log(noise_uniform(UINT64_MAX))) -
		   36.7368) < 1e-3);
	CHECK(fabs(-noise_log(-noise_log(noise_uniform(0))) + 3.604) < 1e-3);
}

/* Committed: a change here changes every seeded stream of every user. */
TEST(noise_is_pinned)
{
	CHECK(noise_bits(0, 0, 0) != noise_bits(0, 0, 1));
	CHECK(noise_bits(0, 0, 0) != noise_bits(0, 1, 0));
	CHECK(noise_bits(0, 0, 0) != noise_bits(1, 0, 0));
	CHECK(noise_bits(0, 0, 0) != noise_bits(1ull << 32, 0, 0));
	CHECK(noise_bits(0, 0, 2) != noise_bits(0, 0, 0));
	/* computed by other means: Python's integers and 50-digit decimals */
	CHECK(noise_bits(0x0123456789abcdef, 5, 1234567) == 0xfdb6f8e31cb4bf33);
	CHECK(fabs(noise_gumbel(42, 7, 99) + 0x1.ebd9c05a7ebd8p-3) < 1e-15);
	/* and to the bit, on every machine */
	CHECK(noise_gumbel(42, 7, 99) == -0x1.ebd9c05a7ebd8p-3);
}
