/* SPDX-License-Identifier: MIT */
/*
 * slow test: q, k, v on their way to attention: norm, rope and slots, against
 * float64, and with the product before them against kernels/ref.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/ref.h"

extern "C" {
#include "kernels/cuda/pack.h"
#include "kernels/host.h"
#include "kernels/ref/ref.h"
}

#include <cerrno>

#define TOKENS 19
#define FIRST  27 /* position of the first */
#define BLOCKS 6
#define EPS    1e-5f

static const struct shape {
	const char *name;
	int heads, kv_heads, dim, rotary;
	bool norm, pairs;
} shapes[] = {
	{ "4:2 of 16", 4, 2, 16, 16, false, false },
	{ "5:1 of 80, part of it turns, norms", 5, 1, 80, 32, true, false },
	{ "3:1 of 64, rotary pairs", 3, 1, 64, 64, false, true },
	{ "2:2 of 96, norms", 2, 2, 96, 96, true, false },
	{ "1:1 of 256, rotary pairs and norms", 1, 1, 256, 64, true, true },
};

struct fixture {
	const struct shape &s;
	int heads, width;    /* of q, k and v; numbers of a token */
	size_t block_stride; /* K and V of two layers, this is the second */
	array<float> qkv, q_norm, k_norm, rope;
	array<uint32_t> position, slot;
	array<uint16_t> q, kv;
	std::vector<uint32_t> table = { 3, 0, 5, 2 }; /* one is null */

	explicit fixture(const struct shape &shape)
		: s(shape), heads(s.heads + 2 * s.kv_heads),
		  width(heads * s.dim),
		  block_stride((size_t)4 * s.kv_heads * KV_BLOCK * s.dim),
		  qkv((size_t)TOKENS * width), q_norm(s.dim), k_norm(s.dim),
		  rope((size_t)(FIRST + TOKENS) * s.rotary), position(TOKENS),
		  slot(TOKENS), q((size_t)TOKENS * s.heads * s.dim),
		  kv(BLOCKS * block_stride)
	{
		for (size_t i = 0; i < qkv.host.size(); i++)
			qkv[i] = noise(1, i) * 3;
		for (int d = 0; d < s.dim; d++) {
			q_norm[d] = 1 + noise(2, d) / 3;
			k_norm[d] = 1 + noise(3, d) / 3;
		}
		for (size_t i = 0; i < rope.host.size(); i++)
			rope[i] =
				(float)(i % 2 ? sin(angle(i)) : cos(angle(i)));
		for (uint32_t t = 0; t < TOKENS; t++) {
			position[t] = FIRST + t;
			slot[t] =
				table[(FIRST + t) / 16] * 16 + (FIRST + t) % 16;
		}
		qkv.send();
		q_norm.send();
		k_norm.send();
		rope.send();
		position.send();
		slot.send();
	}

	/* of the number @i of the table */
	double angle(size_t i)
	{
		size_t p = i / s.rotary, pair = i % s.rotary / 2;

		return p * pow(10000, -2.0 * pair / s.rotary);
	}

	uint16_t *keys()
	{
		return &kv[(size_t)2 * s.kv_heads * KV_BLOCK * s.dim];
	}

	uint16_t *values()
	{
		return &kv[(size_t)3 * s.kv_heads * KV_BLOCK * s.dim];
	}

	size_t at(int t, int head, int d)
	{
		return slot[t] / 16 * block_stride +
		       (size_t)head * KV_BLOCK * s.dim +
		       layout_kv(s.dim, slot[t] % 16, d / 8) / 2 + d % 8;
	}

	struct cuda_qkv_args args()
	{
		return { qkv.device,
			 s.norm ? q_norm.device : NULL,
			 s.norm ? k_norm.device : NULL,
			 rope.device,
			 position.device,
			 slot.device,
			 q.device,
			 kv.device + (keys() - &kv[0]),
			 kv.device + (values() - &kv[0]),
			 block_stride,
			 TOKENS,
			 s.heads,
			 s.kv_heads,
			 s.dim,
			 s.rotary,
			 EPS,
			 CUDA_KV_BF16 };
	}

	bool run()
	{
		struct cuda_qkv_args a = args();
		bool ok = ran(cuda_qkv(&a, NULL));

		q.fetch();
		kv.fetch();
		return ok;
	}

	/* what head @head of token @t should be, but for rounding */
	std::vector<double> want(int t, int head)
	{
		const float *x = &qkv[(size_t)t * width + head * s.dim];
		std::vector<double> y(x, x + s.dim);
		bool is_q = head < s.heads;

		if (head >= s.heads + s.kv_heads)
			return y;
		if (s.norm) {
			double sum = 0;

			for (double v : y)
				sum += v * v;
			for (int d = 0; d < s.dim; d++)
				y[d] *= (is_q ? q_norm : k_norm)[d] /
					sqrt(sum / s.dim + EPS);
		}
		for (int i = 0; i < s.rotary / 2; i++) {
			double w = angle((size_t)(FIRST + t) * s.rotary +
					 2 * (size_t)i);
			double a = y[i], b = y[i + s.rotary / 2];

			y[i] = a * cos(w) - b * sin(w);
			y[i + s.rotary / 2] = b * cos(w) + a * sin(w);
		}
		return y;
	}
};

/* In units of half a step of bf16, or nearly so. */
static double off(uint16_t got, double want)
{
	return fabs(mma_widen(got) - want) / (fabs(want) + 1e-3) * 256;
}

TEST(heads_are_near_float64_under_every_schedule)
{
	for (const struct shape &s : shapes) {
		fixture f(s);
		double worst = 0;

		ROW(s.name);
		CHECK(every_schedule(f.q.host, [&] { return f.run(); }));
		CHECK(every_schedule(f.kv.host, [&] { return f.run(); }));
		for (int t = 0; t < TOKENS; t++)
			for (int h = 0; h < f.heads; h++) {
				std::vector<double> want = f.want(t, h);
				int kv = (h - s.heads) % s.kv_heads;
				bool key = h < s.heads + s.kv_heads;

				if (h >= s.heads && f.slot[t] < 16)
					continue;
				for (int d = 0; d < s.dim; d++) {
					size_t row = (size_t)t * s.heads + h;
					uint16_t got =
						h < s.heads
							? f.q[row * s.dim + d]
						: key ? f.keys()[f.at(t, kv, d)]
						      : f.values()[f.at(t, kv,
									d)];

					worse(&worst, off(got, want[d]));
				}
			}
		printf("# %s: worst error %.3f of half a step\n", s.name,
		       worst);
		CHECK(worst < 1.02);
		print_digest("q", f.q.host);
		print_digest("kv", f.kv.host);
	}
}

TEST(nothing_is_written_but_the_slots_of_the_tokens)
{
	fixture f(shapes[0]);
	size_t written = 0, block_0 = 0;

	CHECK(f.run());
	for (size_t i = 0; i < f.kv.host.size(); i++) {
		written += f.kv[i] != 0xffff;
		block_0 += i < f.block_stride && f.kv[i] != 0xffff;
	}
	/* the first five tokens have no place, they are of the null block */
	CHECK_EQ(block_0, 0);
	CHECK_EQ(written, 14 * 2 * 2 * 16);
}

TEST(a_token_in_the_null_block_leaves_no_trace)
{
	fixture f(shapes[0]);

	for (uint32_t t = 0; t < TOKENS; t++)
		f.slot[t] = t % 16;
	f.slot.send();
	CHECK(f.run());
	for (uint16_t h : f.kv.host)
		CHECK_EQ(h, 0xffff);
	for (uint16_t h : f.q.host)
		CHECK(h != 0xffff);
}

/* The model of ref with q, k, v, and the same as one packed matrix. */
struct beside_ref {
	static constexpr int COLS = 48;
	fixture f;
	ref_model m;
	array<char> w;
	array<uint16_t> x;
	array<float> bias;
	std::vector<float> x_f32, biases[3];

	explicit beside_ref(const struct shape &s)
		: f(s), m(shape_of(s)),
		  w(pack_bytes(CUDA_W_BF16, f.width, COLS)),
		  x((size_t)TOKENS * COLS), bias(f.width)
	{
		struct weight *mat[] = { &m.layer.q, &m.layer.k, &m.layer.v };
		struct pack pack = { CUDA_W_BF16, f.width, COLS, w.host.data(),
				     NULL };
		int first = 0;

		memset(w.host.data(), 0, w.host.size());
		fill_bf16(x, 1, 1);
		for (uint16_t h : x.host)
			x_f32.push_back(mma_widen(h));
		for (int i = 0; i < 3; i++) {
			int rows = (int)mat[i]->rows;
			float *v = ref_model::of(*mat[i]), row[COLS];
			struct pack_place place = { s.pairs && i < 2
							    ? PACK_PAIRS
							    : PACK_AS_IS,
						    first, s.dim, s.rotary };

			for (int j = 0; j < rows * COLS; j++)
				v[j] = mma_widen(to_bf16(noise(2 + i, j)));
			for (int j = 0; j < rows; j++)
				biases[i].push_back(noise(5 + i, j));
			pack_weight(&pack, mat[i], &place, 0, rows, row);
			pack_vector(biases[i].data(), rows, &place,
				    bias.host.data());
			first += rows;
		}
		w.send();
		bias.send();
		m.layer.q_bias = biases[0].data();
		m.layer.k_bias = biases[1].data();
		m.layer.v_bias = biases[2].data();
		m.layer.qk_pairs = s.pairs;
		m.layer.q_norm = s.norm ? f.q_norm.host.data() : NULL;
		m.layer.k_norm = s.norm ? f.k_norm.host.data() : NULL;
		m.layer.rope = f.rope.host.data();
	}

	static struct ops_shape shape_of(const struct shape &s)
	{
		return { COLS,
			 (uint32_t)s.heads,
			 (uint32_t)s.kv_heads,
			 (uint32_t)s.dim,
			 (uint32_t)s.rotary,
			 16,
			 16,
			 1,
			 EPS,
			 1,
			 KV_F32 };
	}

	bool run_ref()
	{
		ref_step step(std::vector<uint32_t>(TOKENS, 0), FIRST, f.table);

		return m.open() && !ops_ref.embed_norm(m.ctx, &step.step) &&
		       !ops_ref.poke(m.ctx, OPS_XN, 0, TOKENS, x_f32.data()) &&
		       !ops_ref.qkv_rope_kv(m.ctx, &step.step, 0);
	}

	bool run_device()
	{
		struct cuda_gemm_args args = {};

		args.w = w.device;
		args.x = x.device;
		args.y = f.qkv.device;
		args.n = f.width;
		args.k = COLS;
		args.tokens = TOKENS;
		args.out = CUDA_F32;
		args.bias = bias.device;
		return ran(cuda_gemm(&args, NULL)) && f.run();
	}
};

TEST(q_k_and_v_are_near_those_of_ref)
{
	for (const struct shape &s : shapes) {
		beside_ref b(s);
		fixture &f = b.f;
		std::vector<float> q;
		double worst = 0;

		ROW(s.name);
		CHECK(b.run_ref());
		CHECK(b.run_device());
		q = b.m.peek(OPS_Q, TOKENS, s.heads * s.dim);
		for (size_t i = 0; i < q.size(); i++)
			worse(&worst, off(f.q[i], q[i]));
		for (int t = 0; t < TOKENS; t++)
			for (int i = 0; i < s.kv_heads * s.dim; i++) {
				uint32_t block = f.slot[t] / 16;
				uint32_t h = i / s.dim, d = i % s.dim;
				uint32_t token = f.slot[t] % 16;
				size_t at = f.at(t, h, d);
				float *k =
					(float *)host_k(b.m.ctx, block, 0, h);
				float *v =
					(float *)host_v(b.m.ctx, block, 0, h);

				if (!block)
					continue;
				worse(&worst,
				      off(f.keys()[at], k[d * 16 + token]));
				worse(&worst, off(f.values()[at],
						  v[token * s.dim + d]));
			}
		printf("# %s: worst difference %.3f of half a step\n", s.name,
		       worst);
		CHECK(worst < 1.1);
	}
}

/* Codes and scales of a head of a token in an image of 8 bits. */
struct head8 {
	std::vector<int> code;
	float scale;

	head8(const uint16_t *cache, fixture &f, int t, int head)
	{
		int dim = f.s.dim, token = (int)f.slot[t] % 16;
		const char *p = (const char *)(cache + f.slot[t] / 16 *
							       f.block_stride) +
				(size_t)head * layout_kv8_bytes(dim);

		for (int d = 0; d < dim; d++)
			code.push_back(
				(int8_t)p[layout_kv(dim, token, d / 8) / 2 +
					  d % 8]);
		memcpy(&scale, p + KV_BLOCK * dim + token * 4, 4);
	}

	/* rule K1 in float64 of what the head should be */
	bool near(const std::vector<double> &want) const
	{
		double top = 0;

		for (double v : want)
			top = fmax(top, fabs(v));
		if (fabs(scale - top / 127) > top / 127 * 1e-6)
			return false;
		for (size_t d = 0; d < want.size(); d++)
			if (fabs(code[d] - want[d] * 127 / top) > 0.501)
				return false;
		return true;
	}
};

TEST(keys_and_values_of_8_bits_have_a_scale_a_head)
{
	for (const struct shape &s : shapes) {
		fixture f(s);
		struct cuda_qkv_args args = f.args();

		ROW(s.name);
		args.kv = CUDA_KV_Q8;
		CHECK(every_schedule(f.kv.host, [&] {
			bool ok = ran(cuda_qkv(&args, NULL));

			f.kv.fetch();
			return ok;
		}));
		for (int t = 0; t < TOKENS; t++)
			for (int h = 0; h < s.kv_heads && f.slot[t] >= 16;
			     h++) {
				head8 k(f.keys(), f, t, h);
				head8 v(f.values(), f, t, h);

				CHECK(k.near(f.want(t, s.heads + h)));
				CHECK(v.near(
					f.want(t, s.heads + s.kv_heads + h)));
			}
		print_digest("kv of 8 bits", f.kv.host);
	}
}

/* Values are neither normed nor turned: ref's codes, bit for bit. */
TEST(values_of_8_bits_are_those_of_ref)
{
	const struct shape &s = shapes[1];
	fixture f(s);
	struct cuda_qkv_args args = f.args();
	struct ops_shape shape = { 8, 5, 1, 80, 32, 8, 8, 1, EPS, 1, KV_Q8 };
	ref_model m(shape);

	for (int d = 0; d < s.dim; d++) /* a head of zeros, one that is wild */
		f.qkv[(size_t)6 * f.width + 6 * s.dim +
		      d] = 0,
		      f.qkv[(size_t)7 * f.width + 6 * s.dim + d] =
			      d == 3 ? INFINITY : 1;
	f.qkv.send();
	args.kv = CUDA_KV_Q8;
	CHECK(m.open());
	CHECK(ran(cuda_qkv(&args, NULL)));
	f.kv.fetch();
	for (int t = 0; t < TOKENS; t++) {
		const float *v = &f.qkv[(size_t)t * f.width + 6 * s.dim];
		uint32_t block = f.slot[t] / 16, token = f.slot[t] % 16;
		const int8_t *want;
		float scale;

		if (!block)
			continue;
		ref_write_kv(m.ctx, 0, f.slot[t], v, v);
		want = (const int8_t *)host_v(m.ctx, block, 0, 0);
		scale = host_kv_scales((void *)want, s.dim)[token];
		head8 got(f.values(), f, t, 0);

		CHECK(got.scale == scale ||
		      (t == 7 && scale != scale && got.scale != got.scale));
		for (int d = 0; d < s.dim; d++)
			CHECK_EQ(got.code[d], want[token * s.dim + d]);
	}
}

TEST(qkv_refuses_what_it_cannot_run)
{
	fixture f(shapes[0]);
	struct cuda_qkv_args args = f.args();

	args.head_dim = 24;
	CHECK_EQ(cuda_qkv(&args, NULL), -EINVAL);
	args = f.args();
	args.rotary_dim = 32;
	CHECK_EQ(cuda_qkv(&args, NULL), -EINVAL);
	args = f.args();
	args.tokens = 0;
	CHECK_EQ(cuda_qkv(&args, NULL), -EINVAL);
}
