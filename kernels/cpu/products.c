/* SPDX-License-Identifier: MIT */
/*
 * products.c - matrix products over the pool.  Threads take units of rows of
 * the weights, so each row is read by one thread for all tokens.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fp8.h"

#include "kernels/host.h"
#include "kernels/pool.h"

#define GRAIN_NS     3000.0 /* what handing over costs, a few times */
#define BYTES_PER_NS 10.0   /* about a core's; only grains depend on it */
#define MACS_PER_NS  30.0

struct region {
	struct ops_ctx *ctx;
	const struct cpu_product *products;
	uint32_t nr;
	const struct host_rows *x;
	uint32_t tokens;
	enum packed_form form; /* of the input being packed */
	cpu_after_fn *after;
	void *arg;
};

uint32_t cpu_grain(double ns)
{
	double n = GRAIN_NS / (ns > 1 ? ns : 1);

	return n < 1 ? 1 : (uint32_t)n + 1;
}

/* Rows that go together: a multiple of every tile's. */
static uint32_t unit(const struct weight *w)
{
	return weight_is_packed(w->type) ? PACKED_UNIT : GEMM_UNIT;
}

static uint32_t units(const struct weight *w)
{
	return (w->rows + unit(w) - 1) / unit(w);
}

void cpu_some_product(struct ops_ctx *ctx, uint32_t thread,
		      const struct weight *w, uint32_t first, uint32_t end,
		      const struct host_rows *x, uint32_t tokens,
		      struct host_rows *y)
{
	const struct cpu_state *s = ctx->cpu;

	if (weight_is_packed(w->type))
		packed_rows(
			s->kernels.packed, w, w->fast, first, end,
			s->packed_x[packed_form(s->kernels.packed, w->type)],
			tokens, y->data, y->ld, s->panel[thread]);
	else if (w->type == WEIGHT_FP8)
		fp8_rows_avx2(&s->kernels.gemm[WEIGHT_F32], w, first, end,
			      x->data, x->ld, tokens, y->data, y->ld,
			      (float *)(void *)s->panel[thread]);
	else
		gemm_rows(&s->kernels.gemm[w->type], w, first, end, x->data,
			  x->ld, tokens, y->data, y->ld);
}

static void some_rows(const struct region *g, uint32_t thread, uint32_t which,
		      uint32_t first, uint32_t end)
{
	const struct cpu_product *p = &g->products[which];

	cpu_some_product(g->ctx, thread, p->w, first, end, g->x, g->tokens,
			 p->y);
	for (uint32_t t = 0; p->bias && t < g->tokens; t++) {
		float *y = host_row(p->y, t);

		for (uint32_t r = first; r < end; r++)
			y[r] += p->bias[r];
	}
	if (g->after)
		g->after(g->arg, thread, which, first, end);
}

/* Units [first, end) of all products, one after the other. */
static void some_units(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;

	for (uint32_t i = 0; i < g->nr && first < end; i++) {
		const struct weight *w = g->products[i].w;
		uint32_t n = units(w);

		if (first < n) {
			uint32_t stop = end < n ? end * unit(w) : w->rows;

			some_rows(g, thread, i, first * unit(w), stop);
			first = n;
		}
		first -= n;
		end = end > n ? end - n : 0;
	}
}

static void some_inputs(void *arg, uint32_t thread, uint32_t first,
			uint32_t end)
{
	const struct region *g = arg;
	const struct cpu_state *s = g->ctx->cpu;

	(void)thread;
	for (uint32_t t = first; t < end; t++)
		packed_quantize_avx2(host_row(g->x, t), g->products[0].w->cols,
				     g->form, t, g->tokens,
				     s->kernels.packed->max_tokens,
				     s->packed_x[g->form]);
}

/* Adds the form that @w, if it is packed, wants. */
static uint32_t form_bit(const struct region *g, const struct weight *w)
{
	const struct packed_set *set = g->ctx->cpu->kernels.packed;

	return weight_is_packed(w->type) ? 1u << packed_form(set, w->type) : 0;
}

/* P1 of the input, once for all products that want the same form of it. */
static void pack_input(struct region *g)
{
	uint32_t want = 0;

	for (uint32_t i = 0; i < g->nr; i++) {
		want |= form_bit(g, g->products[i].w);
		if (g->products[i].beside)
			want |= form_bit(g, g->products[i].beside);
	}
	for (int form = 0; form < NR_PACKED_FORMS; form++) {
		g->form = (enum packed_form)form;
		if (want >> form & 1)
			pool_run(g->ctx->pool, some_inputs, g, g->tokens,
				 cpu_grain(0.3 * g->products[0].w->cols));
	}
}

void cpu_products(struct ops_ctx *ctx, const struct cpu_product *products,
		  uint32_t nr, const struct host_rows *x, uint32_t tokens,
		  cpu_after_fn *after, void *arg)
{
	struct region g = { ctx, products, nr, x, tokens, 0, after, arg };
	const struct weight *w = products[0].w;
	double read = (double)weight_row_bytes(w->type, w->cols) / BYTES_PER_NS;
	double compute = (double)w->cols * tokens / MACS_PER_NS;
	uint32_t sum = 0;

	pack_input(&g);
	for (uint32_t i = 0; i < nr; i++)
		sum += units(products[i].w);
	pool_run(ctx->pool, some_units, &g, sum,
		 cpu_grain(unit(w) * (read > compute ? read : compute)));
}
