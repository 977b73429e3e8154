/* SPDX-License-Identifier: MIT */
/*
 * slow test: the weight-stationary GEMM, each form of weights, against float64
 * and against itself: any number of tokens, any instance, any schedule gives a
 * row the same bits.
 */
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/launch.cuh"
#include "tests/cuemu/check.h"
#include "tests/cuemu/forms.h"

#include <cerrno>

#define N 128
#define K 512
#define T CUDA_GEMM_TOKENS

/* Random weights, packed, and as float64. */
struct fixture {
	const struct form &form;
	array<char> w;
	array<float> scale, y;
	array<uint16_t> x;
	std::vector<double> want;

	explicit fixture(const struct form &f)
		: form(f), w((size_t)N * K * f.bits / 8),
		  scale((size_t)N * K / LAYOUT_GROUP * 2), y((size_t)T * N),
		  x((size_t)T * K), want((size_t)N * K)
	{
		for (size_t i = 0; i < scale.host.size(); i++)
			scale[i] = 0.01f * (1.5f + noise(9, i));
		for (int i = 0; form.form == CUDA_W_INT4_ZEROS &&
				i < N * (K / LAYOUT_GROUP);
		     i++) {
			uint32_t zero = layout_zero(
				(unsigned)zero_of(form.form, i % N, i / N));

			memcpy(&scale[N * (K / LAYOUT_GROUP) + i], &zero, 4);
		}
		memset(w.host.data(), 0, w.host.size());
		for (int r = 0; r < N; r++)
			for (int c = 0; c < K; c++)
				put(r, c);
		w.send();
		scale.send();
		for (size_t i = 0; i < x.host.size(); i++)
			x[i] = form.form == CUDA_W_F16 ? f32_to_f16(noise(8, i))
						       : to_bf16(noise(8, i));
		x.send();
	}

	double token(size_t i)
	{
		return form.form == CUDA_W_F16 ? f16_to_f32(x[i])
					       : mma_widen(x[i]);
	}

	void put(int r, int c)
	{
		size_t i = (size_t)r * K + c;
		int shift, code = encode(form.form, noise(7, i));
		size_t at = layout_weight(form.bits, K, r, c, &shift);
		int group = c / LAYOUT_GROUP;

		w[at] = (char)(w[at] | code << shift);
		if (form.bits == 16)
			w[at + 1] = (char)(code >> 8);
		want[i] = decode(form.form, code);
		if (form.bits == 4)
			want[i] -= zero_of(form.form, r, group);
		if (form.bits != 16)
			want[i] *=
				scale[is_grouped(form.form) ? group * N + r : r];
	}

	struct cuda_gemm_args args(int first, int tokens, void *out)
	{
		return { w.device,
			 scale.device,
			 x.device + (size_t)first * K,
			 out,
			 N,
			 K,
			 tokens,
			 form.form,
			 CUDA_F32,
			 CUDA_STORE,
			 nullptr,
			 nullptr,
			 0,
			 0 };
	}

	/* rows first .. first + tokens - 1 of y */
	bool run(int first, int tokens)
	{
		struct cuda_gemm_args a =
			args(first, tokens, y.device + (size_t)first * N);
		bool ok = ran(cuda_gemm(&a, NULL));

		y.fetch();
		return ok;
	}

	/* the instance that is named, on the first @tokens */
	template <class W, int WARPS, int TILES, int STAGES>
	bool run_as(int tokens)
	{
		struct cuda_gemm_args a = args(0, tokens, y.device);
		bool ok = ran(launch(gemm<W, WARPS, TILES, STAGES>,
				     N / (WARPS * LAYOUT_ROWS), WARPS * 32,
				     gemm_smem<W, WARPS, TILES>(STAGES), a,
				     NULL));

		y.fetch();
		return ok;
	}

	void judge(int t, int r, double *worst, double *largest)
	{
		double sum = 0;

		for (int c = 0; c < K; c++)
			sum += want[(size_t)r * K + c] *
			       token((size_t)t * K + c);
		worse(worst, fabs(y[(size_t)t * N + r] - sum));
		*largest = fmax(*largest, fabs(sum));
	}

	void forget()
	{
		memset((void *)y.host.data(), 0xff, y.host.size() * 4);
		y.send();
	}
};

static int refused(const struct cuda_gemm_args *good, int n, int k, int tokens)
{
	struct cuda_gemm_args args = *good;

	args.n = n;
	args.k = k;
	args.tokens = tokens;
	return cuda_gemm(&args, NULL);
}

TEST(packed_weights_take_each_bit_once)
{
	for (int bits : { 16, 8, 4 }) {
		std::vector<char> used((size_t)32 * 256 * bits, 0);

		for (int r = 0; r < 32; r++)
			for (int c = 0; c < 256; c++) {
				int shift;
				size_t at =
					layout_weight(bits, 256, r, c, &shift);

				for (int b = 0; b < bits; b++) {
					size_t bit = at * 8 + shift + b;

					CHECK(bit < used.size());
					CHECK(!used[bit]);
					used[bit] = 1;
				}
			}
	}
}

TEST(gemm_is_near_float64_under_every_schedule)
{
	for (const struct form &form : forms) {
		fixture f(form);
		double worst, largest;

		ROW(form.name);
		EACH_MODEL
		{
			worst = largest = 0;
			CHECK(every_schedule(f.y.host,
					     [&] { return f.run(0, T); }));
			for (int t = 0; t < T; t++)
				for (int r = 0; r < N; r++)
					f.judge(t, r, &worst, &largest);
			printf("# %s: worst error %.2e of the largest\n",
			       form.name, worst / largest);
			CHECK(worst < largest * 1e-5);
			print_digest(form.name, f.y.host);
		}
	}
}

TEST(a_row_has_the_same_bits_among_any_number_of_tokens)
{
	for (const struct form &form : forms) {
		fixture f(form);
		std::vector<float> all;

		ROW(form.name);
		EACH_MODEL
		{
			CHECK(f.run(0, T));
			all = f.y.host;
			for (int tokens : { 1, 8, 9, 32, 33, 64, 65 }) {
				f.forget();
				CHECK(f.run(5, tokens));
				CHECK(!memcmp(&f.y[5 * N], &all[5 * N],
					      (size_t)tokens * N * 4));
				CHECK(f.y[4 * N] != f.y[4 * N]);
				CHECK(f.y[(5 + tokens) * N] !=
				      f.y[(5 + tokens) * N]);
			}
		}
	}
}

template <class W> static void other_instances(const struct form &form)
{
	fixture f(form);
	std::vector<float> all;

	ROW(form.name);
	mma_bits = 2;
	CHECK(f.run(0, 16));
	all.assign(f.y.host.begin(), f.y.host.begin() + 16 * N);
	f.forget();
	CHECK((f.template run_as<W, 1, 2, 2>(16)));
	CHECK(!memcmp(all.data(), f.y.host.data(), all.size() * 4));
	f.forget();
	CHECK((f.template run_as<W, 8, 3, 5>(16)));
	CHECK(!memcmp(all.data(), f.y.host.data(), all.size() * 4));
}

TEST(warps_tiles_and_stages_change_no_bit)
{
	other_instances<weight_bf16>(forms[0]);
	other_instances<weight_int8>(forms[1]);
	other_instances<weight_fp8>(forms[2]);
	other_instances<weight_int4>(forms[3]);
	other_instances<weight_f16>(forms[4]);
	other_instances<weight_fp8_groups>(forms[5]);
	other_instances<weight_int4_zeros>(forms[6]);
}

TEST(an_answer_in_16_bits_is_the_one_in_F32_rounded)
{
	fixture f(forms[1]);
	array<uint16_t> y((size_t)8 * N);
	struct cuda_gemm_args args = f.args(0, 8, y.device);

	args.out = CUDA_BF16;
	CHECK(f.run(0, 8));
	CHECK(ran(cuda_gemm(&args, NULL)));
	y.fetch();
	for (int i = 0; i < 8 * N; i++)
		CHECK_EQ(y[i], to_bf16(f.y[i]));
	args.out = CUDA_F16;
	CHECK(ran(cuda_gemm(&args, NULL)));
	y.fetch();
	for (int i = 0; i < 8 * N; i++)
		CHECK_EQ(y[i], f32_to_f16(f.y[i]));
}

TEST(gemm_refuses_what_it_cannot_run)
{
	fixture f(forms[3]);
	struct cuda_gemm_args args = f.args(0, 8, f.y.device);

	CHECK_EQ(refused(&args, N, K, 0), -EINVAL);
	CHECK_EQ(refused(&args, 0, K, 1), -EINVAL);
	CHECK_EQ(refused(&args, N, K - 4, 1), -EINVAL); /* half a chunk */
	CHECK_EQ(refused(&args, N, 0, 1), -EINVAL);
}
