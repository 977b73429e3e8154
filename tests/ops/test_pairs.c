/* SPDX-License-Identifier: MIT */
/*
 * A model whose q and k rows come pair by pair (qk_pairs), as GGUF files of
 * Llama keep them, gives the bits of the same model half by half.
 */
#include "tests/ops/fixture.h"

#define ROWS 40

/* Where row @r of a head goes: half by half to pair by pair. */
static uint32_t place(const struct ops_shape *s, uint32_t r)
{
	uint32_t d = r % s->head_dim, half = s->rotary_dim / 2;

	if (d >= s->rotary_dim)
		return r;
	return r - d + (d < half ? 2 * d : 2 * (d - half) + 1);
}

static void pair_rows(const struct ops_shape *s, struct weight *w,
		      const float **bias)
{
	size_t n = w->row_stride;
	char *rows = fx_take(n * w->rows);
	float *b = *bias ? fx_take(4 * w->rows) : NULL;

	for (uint32_t r = 0; r < w->rows; r++) {
		memcpy(rows + n * place(s, r), (const char *)w->data + n * r,
		       n);
		if (b)
			b[place(s, r)] = (*bias)[r];
	}
	w->data = rows;
	*bias = b;
}

static void logits(const struct ops *ops, const struct fx_model *m,
		   const struct fx_seq *seq, float *out)
{
	struct ops_ctx *ctx = fx_open(ops, m, MAX_ROWS, 1);
	static struct fx_step f;

	fx_step_begin(&f);
	fx_step_add(&f, seq, 0, ROWS);
	fx_forward(ops, ctx, &f.step);
	ops->peek(ctx, OPS_LOGITS, 0, ROWS, out);
	ops->close(ctx);
}

TEST(rows_pair_by_pair_give_the_bits_of_rows_half_by_half)
{
	static struct fx_seq seq;

	for (size_t i = 0; i < NR_SHAPES; i++) {
		struct fx_model *m = fx_model(&fx_shapes[i]);
		size_t n = (size_t)ROWS * m->shape.vocab * 4;
		float *want = fx_take(n), *got = fx_take(n);

		ROW(fx_shapes[i].name);
		fx_seq(&seq, m->shape.vocab, 1, 11);
		logits(&ops_ref, m, &seq, want);
		for (int l = 0; l < MAX_LAYERS; l++) {
			struct ops_layer *w = &m->layer[l];

			w->qk_pairs = 1;
			pair_rows(&m->shape, &w->q, &w->q_bias);
			pair_rows(&m->shape, &w->k, &w->k_bias);
		}
		for (size_t s = 0; s < NR_SETS; s++) {
			const struct ops *ops = ops_find(fx_sets[s]);

			if (!ops)
				continue;
			memset(got, 0, n);
			logits(ops, m, &seq, got);
			CHECK(!memcmp(want, got, n));
		}
	}
}
