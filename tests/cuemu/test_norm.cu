/* SPDX-License-Identifier: MIT */
/*
 * slow test: RMSNorm after the residual add and after the embedding, against
 * float64, against kernels/ref and against itself
 */
#include "kernels/cuda/cuda.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/ref.h"

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
					       1e-5f,	      CUDA_BF16,
					       CUDA_BF16 };

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

static const int dims[] = { 2, 80, 512, 1026, 2560, 4096, 8192 };

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

TEST(without_a_residual_the_row_stays_as_it_is)
{
	fixture f(1026);
	std::vector<uint16_t> want;
	array<float> w(1026);
	struct cuda_norm_args args = { f.x.device, nullptr, w.device,
				       f.y.device, ROWS,    1026,
				       1e-5f,	   CUDA_F32 };

	for (uint16_t &d : f.d.host)
		d = 0;
	f.d.send();
	CHECK(f.run(0, ROWS));
	want = f.y.host;
	memset(f.y.host.data(), 0xff, want.size() * 2);
	f.y.send();
	for (int i = 0; i < 1026; i++)
		w[i] = mma_widen(f.w[i]); /* the same numbers, as F32 */
	w.send();
	CHECK(ran(cuda_residual_norm(&args, NULL)));
	f.y.fetch();
	CHECK(same_bits(want, f.y.host));
	f.x.fetch();
	for (size_t i = 0; i < f.x.host.size(); i++)
		CHECK(f.x[i] == f.input(i));
}

#define VOCAB 37

/* An embedding of each kind of numbers that are exact in all of them. */
struct embedding {
	int dim;
	array<uint16_t> bf16, f16, y;
	array<float> f32, w, x;
	array<uint32_t> token, asked, late;

	explicit embedding(int n)
		: dim(n), bf16((size_t)n * VOCAB), f16(bf16.host.size()),
		  y((size_t)n * ROWS), f32(bf16.host.size()), w(n),
		  x((size_t)n * ROWS), token(ROWS), asked(ROWS), late(ROWS)
	{
		static const uint32_t ids[ROWS] = { 36, 0, 5, VOCAB,
						    ~CUDA_LATE };

		fill_bf16(bf16, 4, 1);
		for (size_t i = 0; i < f32.host.size(); i++) {
			f32[i] = mma_widen(bf16[i]);
			f16[i] = f32_to_f16(f32[i]);
			/* bf16 numbers below 2^-17 have more places */
			if (f16_to_f32(f16[i]) != f32[i])
				f32[i] = 0, f16[i] = bf16[i] = 0;
		}
		for (int i = 0; i < n; i++)
			w[i] = 1 + noise(5, i) / 3;
		for (int i = 0; i < ROWS; i++)
			ask(i, ids[i]);
		bf16.send();
		f16.send();
		f32.send();
		w.send();
		asked.send();
		late.send();
	}

	/* every other token is one that was chosen on the device */
	void ask(int row, uint32_t id)
	{
		token[row] = asked[row] = id;
		if (row % 2)
			return;
		asked[row] = CUDA_LATE + ROWS - 1 - row;
		late[ROWS - 1 - row] = id;
	}

	bool run(enum cuda_number number)
	{
		const void *table = number == CUDA_BF16	 ? (void *)bf16.device
				    : number == CUDA_F16 ? (void *)f16.device
							 : (void *)f32.device;
		struct cuda_embed_args args = {
			table,	  asked.device, late.device, w.device,
			x.device, y.device,	ROWS,	     dim,
			VOCAB,	  1e-5f,	number,	     CUDA_F32
		};
		bool ok = ran(cuda_embed_norm(&args, NULL));

		x.fetch();
		y.fetch();
		return ok;
	}
};

static struct ref_model *open_ref(embedding &e, ref_model &m)
{
	memcpy(ref_model::of(m.ends.embed), e.f32.host.data(),
	       e.f32.host.size() * 4);
	m.layer.attn_norm = e.w.host.data();
	return m.open() ? &m : nullptr;
}

TEST(a_token_begins_with_the_row_of_ref_and_its_norm)
{
	for (int dim : { 80, 192, 1026, 8192 }) {
		embedding e(dim);
		struct ops_shape s = { (uint32_t)dim, 1, 1,	16, 16,	   16,
				       VOCAB,	      1, 1e-5f, 1,  KV_F32 };
		ref_model m(s);
		ref_step step(e.token.host, 0, { 1 });
		std::vector<float> x, y;
		double worst = 0;

		CHECK(open_ref(e, m));
		CHECK_EQ(ops_ref.embed_norm(m.ctx, &step.step), 0);
		x = m.peek(OPS_X, ROWS, dim);
		y = m.peek(OPS_XN, ROWS, dim);
		CHECK(every_schedule(e.y.host,
				     [&] { return e.run(CUDA_F16); }));
		CHECK(same_bits(x, e.x.host));
		for (size_t i = 0; i < y.size(); i++)
			worse(&worst, fabs(mma_widen(e.y[i]) - y[i]) /
					      (fabs(y[i]) + 1e-2));
		printf("# dim %d: worst relative error %.5f\n", dim, worst);
		CHECK(worst < 0.0041);
		print_digest("embed", e.y.host);
	}
}

TEST(an_embedding_of_any_kind_of_numbers_gives_the_same_bits)
{
	embedding e(192);
	std::vector<uint16_t> y;

	CHECK(e.run(CUDA_BF16));
	y = e.y.host;
	for (enum cuda_number number : { CUDA_F16, CUDA_F32 }) {
		CHECK(e.run(number));
		CHECK(same_bits(y, e.y.host));
	}
}

TEST(a_norm_in_16_bits_is_the_one_in_F32_rounded)
{
	embedding e(192);
	array<float> y((size_t)192 * ROWS);
	struct cuda_norm_args args = { e.x.device, nullptr,  e.w.device,
				       y.device,   ROWS,     192,
				       1e-5f,	   CUDA_F32, CUDA_F32 };

	CHECK(e.run(CUDA_F32)); /* x, and y of bf16 */
	CHECK(ran(cuda_residual_norm(&args, NULL)));
	y.fetch();
	for (size_t i = 0; i < y.host.size(); i++)
		CHECK_EQ(e.y[i], to_bf16(y[i]));
	args.y = e.y.device;
	args.y_number = CUDA_F16;
	CHECK(ran(cuda_residual_norm(&args, NULL)));
	e.y.fetch();
	for (size_t i = 0; i < y.host.size(); i++)
		CHECK_EQ(e.y[i], f32_to_f16(y[i]));
}

TEST(norm_refuses_what_it_cannot_run)
{
	struct cuda_norm_args norm = {};
	struct cuda_embed_args embed = {};

	embed.vocab = 1;
	norm.rows = embed.rows = 1;
	for (int dim : { 0, 81, CUDA_MAX_DIM + 2 }) {
		norm.dim = embed.dim = dim;
		CHECK_EQ(cuda_residual_norm(&norm, NULL), -EINVAL);
		CHECK_EQ(cuda_embed_norm(&embed, NULL), -EINVAL);
	}
	embed.dim = 80;
	embed.vocab = 0;
	CHECK_EQ(cuda_embed_norm(&embed, NULL), -EINVAL);
}
