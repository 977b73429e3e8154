/* SPDX-License-Identifier: MIT */
/*
 * products.c - matrix products over the pool.  Threads take units of rows of
 * the weights, so each row is read by one thread for all tokens.
 */
#include "kernels/cpu/cpu.h"

#include "kernels/host.h"
#include "kernels/pool.h"

#define GRAIN_NS     15000.0 /* a few times a wake-up */
#define BYTES_PER_NS 10.0    /* about a core's; only grains depend on it */
#define MACS_PER_NS  30.0

struct region {
	const struct ops_ctx *ctx;
	const struct cpu_product *products;
	uint32_t nr;
	const struct host_rows *x;
	uint32_t tokens;
	cpu_after_fn *after;
	void *arg;
};

uint32_t cpu_grain(double ns)
{
	double n = GRAIN_NS / (ns > 1 ? ns : 1);

	return n < 1 ? 1 : (uint32_t)n + 1;
}

static uint32_t units(const struct weight *w)
{
	return (w->rows + GEMM_UNIT - 1) / GEMM_UNIT;
}

static void some_rows(const struct region *g, uint32_t which, uint32_t first,
		      uint32_t end)
{
	const struct cpu_product *p = &g->products[which];

	gemm_rows(&g->ctx->cpu->kernels.gemm[p->w->type], p->w, first, end,
		  g->x->data, g->x->ld, g->tokens, p->y->data, p->y->ld);
	for (uint32_t t = 0; p->bias && t < g->tokens; t++) {
		float *y = host_row(p->y, t);

		for (uint32_t r = first; r < end; r++)
			y[r] += p->bias[r];
	}
	if (g->after)
		g->after(g->arg, which, first, end);
}

/* Units [first, end) of all products, one after the other. */
static void some_units(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	const struct region *g = arg;

	(void)thread;
	for (uint32_t i = 0; i < g->nr && first < end; i++) {
		const struct weight *w = g->products[i].w;
		uint32_t n = units(w);

		if (first < n) {
			uint32_t stop = end < n ? end * GEMM_UNIT : w->rows;

			some_rows(g, i, first * GEMM_UNIT, stop);
			first = n;
		}
		first -= n;
		end = end > n ? end - n : 0;
	}
}

void cpu_products(struct ops_ctx *ctx, const struct cpu_product *products,
		  uint32_t nr, const struct host_rows *x, uint32_t tokens,
		  cpu_after_fn *after, void *arg)
{
	struct region g = { ctx, products, nr, x, tokens, after, arg };
	const struct weight *w = products[0].w;
	double read = (double)weight_row_bytes(w->type, w->cols) / BYTES_PER_NS;
	double compute = (double)w->cols * tokens / MACS_PER_NS;
	uint32_t sum = 0;

	for (uint32_t i = 0; i < nr; i++)
		sum += units(products[i].w);
	pool_run(ctx->pool, some_units, &g, sum,
		 cpu_grain(GEMM_UNIT * (read > compute ? read : compute)));
}
