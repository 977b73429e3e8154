/* SPDX-License-Identifier: MIT */
/*
 * slow test: the tensor core.  On a GPU it says which model (mma_model.h) is
 * its own; on the host it tests the test.
 */
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/cuemu/check.h"

#define WARPS	 64
#define ELEMENTS (WARPS * 128)

struct probe_args {
	const uint32_t *in; /* [WARPS * 32, 10]: a, b, d as bits */
	float *out;	    /* [WARPS * 32, 4] */
};

static __global__ void probe(const probe_args p)
{
	size_t at = blockIdx.x * 32 + threadIdx.x;
	const uint32_t *in = p.in + at * 10;
	float d[4];

	pdl_wait();
	for (int i = 0; i < 4; i++)
		d[i] = as_float(in[6 + i]);
	mma(d, in, in[4], in[5]);
	for (int i = 0; i < 4; i++)
		p.out[at * 4 + i] = d[i];
}

/* Numbers of many sizes, so that cutting shows. */
static void fill(array<uint32_t> &in)
{
	for (size_t i = 0; i < in.host.size(); i++) {
		float c = ldexpf(noise(5, i), (int)(noise(6, i) * 8));
		uint32_t lo =
			to_bf16(ldexpf(noise(1, i), (int)(noise(2, i) * 6)));
		uint32_t hi =
			to_bf16(ldexpf(noise(3, i), (int)(noise(4, i) * 6)));

		if (i % 10 < 6)
			in[i] = lo | hi << 16;
		else
			memcpy(&in[i], &c, 4);
	}
	in.send();
}

/* What the model says of d[i] of a lane; ptx.cuh says who holds what. */
static float model(const uint32_t *warp, int lane, int i)
{
	float a[16], b[16], c;

	for (int k = 0; k < 16; k++) {
		int t = k % 8 / 2, shift = k % 2 * 16;
		const uint32_t *row = warp + (lane / 4 * 4 + t) * 10;
		const uint32_t *col =
			warp + ((lane % 4 * 2 + i % 2) * 4 + t) * 10;

		a[k] = mma_widen(row[i / 2 + k / 8 * 2] >> shift & 0xffff);
		b[k] = mma_widen(col[4 + k / 8] >> shift & 0xffff);
	}
	memcpy(&c, &warp[lane * 10 + 6 + i], 4);
	return mma_element(c, a, b);
}

static int agreeing(array<uint32_t> &in, array<float> &out)
{
	int hits = 0;

	for (int e = 0; e < ELEMENTS; e++)
		hits += model(&in[(size_t)(e / 128) * 320], e / 4 % 32,
			      e % 4) == out[e];
	return hits;
}

TEST(a_model_of_the_tensor_core_fits)
{
	array<uint32_t> in(WARPS * 32 * 10);
	array<float> out(ELEMENTS);

	fill(in);
	EACH_MODEL
	{
		int own = mma_bits, found = -9, hits;

		CHECK(ran(launch(probe, WARPS, 32, 16,
				 probe_args{ in.device, out.device }, NULL)));
		out.fetch();
		for (mma_bits = -1; mma_bits < 6; mma_bits++) {
			hits = agreeing(in, out);
			printf("# model %d: %d of %d elements\n", mma_bits,
			       hits, ELEMENTS);
			if (hits == ELEMENTS)
				found = mma_bits;
		}
		if (EMULATED)
			CHECK_EQ(found, own);
		else
			CHECK(found != -9);
	}
}
