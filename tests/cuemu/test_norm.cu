/* SPDX-License-Identifier: MIT */
/* slow test: residual add and RMSNorm against float64 and against itself */
#include "kernels/cuda/cuda.h"
#include "tests/cuemu/check.h"

#include <cerrno>

#define ROWS 5

struct fixture {
	int dim;
	array<float> x;
	array<uint16_t> d, w, y;

	explicit fixture(int n)
		: dim(n), x((size_t)n * ROWS), d((size_t)n * ROWS), w(n),
		  y((size_t)n * ROWS)
	{
		fill_bf16(d, 1, 1);
		fill_bf16(w, 2, 2);
	}

	float input(size_t i)
	{
		return noise(3, i) * 4;
	}

	bool run(int first, int rows)
	{
		size_t at = (size_t)first * dim;
		struct cuda_norm_args args = { x.device + at, d.device + at,
					       w.device,      y.device + at,
					       rows,	      dim,
					       1e-5f };

		for (size_t i = 0; i < x.host.size(); i++)
			x[i] = input(i);
		x.send();
		if (!ran(cuda_residual_norm(&args, NULL)))
			return false;
		x.fetch();
		y.fetch();
		return true;
	}
};

static const int dims[] = { 512, 2048, 2560, 4096, 8192 };

TEST(norm_is_near_float64_under_every_schedule)
{
	for (int dim : dims) {
		fixture f(dim);
		double worst = 0;

		CHECK(every_schedule(f.y.host, [&] { return f.run(0, ROWS); }));
		for (int r = 0; r < ROWS; r++) {
			double sum = 0;

			for (int i = 0; i < dim; i++) {
				size_t at = (size_t)r * dim + i;
				float v = f.input(at) + mma_widen(f.d[at]);

				CHECK(f.x[at] == v);
				sum += (double)v * v;
			}
			for (int i = 0; i < dim; i++) {
				size_t at = (size_t)r * dim + i;
				double want = f.x[at] / sqrt(sum / dim + 1e-5) *
					      mma_widen(f.w[i]);

				worse(&worst, fabs(mma_widen(f.y[at]) - want) /
						      (fabs(want) + 1e-2));
			}
		}
		printf("# dim %d: worst relative error %.5f\n", dim, worst);
		CHECK(worst < 0.0041); /* half a step of bf16: 0.0039 */
		print_digest("norm", f.y.host);
	}
}

TEST(a_row_alone_gives_the_bits_of_the_row_in_a_batch)
{
	fixture f(2048);
	std::vector<uint16_t> all;

	CHECK(f.run(0, ROWS));
	all = f.y.host;
	memset(f.y.host.data(), 0xff, all.size() * 2);
	f.y.send();
	for (int r = 0; r < ROWS; r++)
		CHECK(f.run(r, 1));
	CHECK(same_bits(all, f.y.host));
}

TEST(norm_refuses_a_size_it_has_no_instance_of)
{
	struct cuda_norm_args args = {};

	args.rows = 1;
	for (int dim : { 0, 100, 512 * 9 }) {
		args.dim = dim;
		CHECK_EQ(cuda_residual_norm(&args, NULL), -EINVAL);
	}
}
