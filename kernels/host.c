/* SPDX-License-Identifier: MIT */
#include "kernels/host.h"

#include "base/err.h"
#include "kernels/check.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *host_take(struct ops_ctx *ctx, size_t bytes)
{
	struct host_mem *m;
	size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;

	bytes = (bytes + align) / align * align; /* never 0 */
	m = malloc(sizeof(*m));
	if (!m)
		return NULL;
	/* fresh pages are zero; the rest of the pool stays untouched */
	m->p = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->p == MAP_FAILED) {
		free(m);
		return NULL;
	}
	m->size = bytes + align;
	m->next = ctx->mem;
	ctx->mem = m;
	if (align == HUGE_PAGE) /* half the time of a weight or KV read */
		madvise(m->p, m->size, MADV_HUGEPAGE);
	return (void *)(((uintptr_t)m->p + align - 1) / align * align);
}

uint32_t host_widest(const struct ops_shape *s)
{
	uint32_t widest = s->dim > s->ffn ? s->dim : s->ffn;
	uint32_t wide = s->nr_heads * s->head_dim;

	return widest > wide ? widest : wide;
}

size_t host_kv_block_bytes(const struct ops_shape *s)
{
	return (size_t)s->nr_layers * 2 * s->nr_kv_heads *
	       host_kv_head_bytes(s);
}

/* The largest value of each size: products of two then fit size_t easily. */
static int check_sizes(const struct ops_shape *s, const struct ops_limits *l,
		       struct err *err)
{
	const struct {
		const char *name;
		uint32_t value, max;
	} sizes[] = {
		{ "dim", s->dim, 1 << 20 },
		{ "nr_heads", s->nr_heads, 1 << 12 },
		{ "nr_kv_heads", s->nr_kv_heads, 1 << 12 },
		{ "head_dim", s->head_dim, HOST_MAX_HEAD_DIM },
		{ "ffn", s->ffn, 1 << 22 },
		{ "vocab", s->vocab, 1 << 23 }, /* sums of masses: 63 bits */
		{ "nr_layers", s->nr_layers, 1 << 12 },
		{ "max_rows", l->max_rows, 1 << 20 },
		{ "max_logits", l->max_logits, 1 << 20 },
		{ "max_context", l->max_context, 1 << 27 },
		{ "nr_blocks", l->nr_blocks, 1 << 27 }, /* slots: 32 bits */
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i].value < 1 || sizes[i].value > sizes[i].max)
			return err_set(err, -EINVAL, "%s %u, allowed 1..%u",
				       sizes[i].name, sizes[i].value,
				       sizes[i].max);
	if (s->nr_heads % s->nr_kv_heads)
		return err_set(err, -EINVAL,
			       "%u heads do not share %u kv heads evenly",
			       s->nr_heads, s->nr_kv_heads);
	if ((unsigned int)s->kv > KV_F16)
		return err_set(err, -EINVAL, "KV type %d is unknown",
			       (int)s->kv);
	if (s->weights != WEIGHTS_AS_IS)
		return err_set(
			err, -EINVAL,
			"weights are rounded by GPUs, and before they are "
			"loaded");
	if (s->rotary_dim > s->head_dim || s->rotary_dim % 2)
		return err_set(err, -EINVAL,
			       "rotary_dim %u, allowed even and up to %u",
			       s->rotary_dim, s->head_dim);
	return 0;
}

/* Returns 0, or -ENOMEM in *@ret (kept, so that calls can be lined up). */
static void take_rows(struct ops_ctx *ctx, struct host_rows *b, uint32_t rows,
		      uint32_t cols, int *ret)
{
	b->rows = rows;
	b->cols = cols;
	b->ld = ((size_t)cols + 15) / 16 * 16 + 16;
	b->data = host_take(ctx, b->ld * rows * sizeof(float));
	if (!b->data)
		*ret = -ENOMEM;
}

static int take_scratch(struct ops_ctx *ctx)
{
	const struct ops_shape *s = &ctx->shape;
	size_t vocab = ((size_t)s->vocab + 15) / 16 * 16;
	size_t widest = host_widest(s);

	ctx->scratch = host_take(ctx, ctx->nr_threads * sizeof(*ctx->scratch));
	if (!ctx->scratch)
		return -ENOMEM;
	for (uint32_t i = 0; i < ctx->nr_threads; i++) {
		struct host_scratch *t = &ctx->scratch[i];

		t->l = host_take(ctx, vocab * sizeof(*t->l));
		t->e = host_take(ctx, vocab * sizeof(*t->e));
		t->key = host_take(ctx, vocab * sizeof(*t->key));
		t->count = host_take(ctx, vocab * sizeof(*t->count));
		t->row = host_take(ctx, (widest + 16) * sizeof(*t->row));
		if (!t->l || !t->e || !t->key || !t->count || !t->row)
			return -ENOMEM;
	}
	return 0;
}

static int take_all(struct ops_ctx *ctx)
{
	const struct ops_shape *s = &ctx->shape;
	uint32_t rows = ctx->limits.max_rows;
	uint32_t wide = s->nr_heads * s->head_dim;
	uint32_t narrow = s->nr_kv_heads * s->head_dim;
	int ret = 0;

	take_rows(ctx, &ctx->buf[OPS_X], rows, s->dim, &ret);
	take_rows(ctx, &ctx->buf[OPS_XN], rows, s->dim, &ret);
	take_rows(ctx, &ctx->buf[OPS_Q], rows, wide, &ret);
	take_rows(ctx, &ctx->buf[OPS_A], rows, wide, &ret);
	take_rows(ctx, &ctx->buf[OPS_H], rows, s->ffn, &ret);
	take_rows(ctx, &ctx->buf[OPS_LOGITS], ctx->limits.max_logits, s->vocab,
		  &ret);
	take_rows(ctx, &ctx->picked, ctx->limits.max_logits, s->dim, &ret);
	take_rows(ctx, &ctx->k, rows, narrow, &ret);
	take_rows(ctx, &ctx->v, rows, narrow, &ret);
	take_rows(ctx, &ctx->u, rows, s->ffn, &ret);
	ctx->layer = host_take(ctx, s->nr_layers * sizeof(*ctx->layer));
	ctx->row_seq = host_take(ctx, rows * sizeof(*ctx->row_seq));
	ctx->block_bytes = host_kv_block_bytes(s);
	ctx->kv = host_take(ctx, ctx->limits.nr_blocks * ctx->block_bytes);
	if (ret || !ctx->layer || !ctx->row_seq || !ctx->kv)
		return -ENOMEM;
	return take_scratch(ctx);
}

int host_open(const struct ops_shape *shape, const struct ops_limits *limits,
	      uint32_t nr_threads, struct ops_ctx **ret_ctx, struct err *err)
{
	struct ops_ctx *ctx;
	int ret = check_sizes(shape, limits, err);

	if (ret)
		return ret;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return err_set(err, -ENOMEM, "no memory for an op context");
	ctx->shape = *shape;
	ctx->limits = *limits;
	ctx->nr_threads = nr_threads;
	ret = take_all(ctx);
	if (ret) {
		host_close(ctx);
		return err_set(
			err, ret,
			"no memory for %u KV blocks and steps of %u rows",
			limits->nr_blocks, limits->max_rows);
	}
	*ret_ctx = ctx;
	return 0;
}

void host_close(struct ops_ctx *ctx)
{
	struct host_mem *m, *next;

	if (!ctx)
		return;
	for (m = ctx->mem; m; m = next) {
		next = m->next;
		munmap(m->p, m->size);
		free(m);
	}
	free(ctx);
}

int host_load_ends(struct ops_ctx *ctx, const struct ops_ends *ends,
		   struct err *err)
{
	int ret = check_ends(&ctx->shape, ends, err);

	if (!ret) {
		ctx->ends = *ends;
		ctx->ends.embed.fast = ctx->ends.head.fast = NULL;
	}
	return ret;
}

int host_load_layer(struct ops_ctx *ctx, uint32_t layer,
		    const struct ops_layer *w, struct err *err)
{
	struct ops_layer *l;
	int ret = check_layer(&ctx->shape, layer, w, err);

	if (ret)
		return ret;
	l = &ctx->layer[layer];
	*l = *w;
	l->q.fast = l->k.fast = l->v.fast = l->o.fast = NULL;
	l->gate.fast = l->up.fast = l->down.fast = NULL;
	return 0;
}

/* Who changes how a packed type is computed counts its version up. */
static const uint8_t packed_version[NR_WEIGHT_TYPES] = {
	[WEIGHT_Q8_0] = 1, [WEIGHT_Q4_0] = 1,	[WEIGHT_Q4_1] = 1,
	[WEIGHT_Q5_0] = 1, [WEIGHT_Q5_1] = 1,	[WEIGHT_Q2_K] = 1,
	[WEIGHT_Q3_K] = 1, [WEIGHT_Q4_K] = 1,	[WEIGHT_Q5_K] = 1,
	[WEIGHT_Q6_K] = 1, [WEIGHT_IQ4_NL] = 1, [WEIGHT_MXFP4] = 1,
	[WEIGHT_INT4] = 1, [WEIGHT_INT8] = 1,
};

uint64_t host_arith_of(const struct ops_ctx *ctx)
{
	uint32_t types = 1u << ctx->ends.embed.type | 1u << ctx->ends.head.type;
	uint64_t id = OPS_ARITH_F32;

	for (uint32_t l = 0; l < ctx->shape.nr_layers; l++) {
		const struct ops_layer *w = &ctx->layer[l];

		types |= 1u << w->q.type | 1u << w->k.type | 1u << w->v.type |
			 1u << w->o.type | 1u << w->gate.type |
			 1u << w->up.type | 1u << w->down.type;
	}
	if (ctx->shape.kv == KV_Q8)
		id = (id ^ 0x0138766b) * 0x100000001b3ull; /* "kv8", 1 */
	/* "kv16", 1 */
	if (ctx->shape.kv == KV_F16)
		id = (id ^ 0x013631766bull) * 0x100000001b3ull;
	/* FNV-1a over the packed ones: their number (as in GGUF), the version */
	for (uint32_t t = NR_PLAIN_TYPES; t < NR_WEIGHT_TYPES; t++)
		if (types >> t & 1) {
			id = (id ^ weight_formats[t].gguf) * 0x100000001b3ull;
			id = (id ^ packed_version[t]) * 0x100000001b3ull;
		}
	return id;
}

int host_peek(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, float *data)
{
	const struct host_rows *b = &ctx->buf[which];

	assert(which < NR_OPS_BUFFERS && row <= b->rows &&
	       count <= b->rows - row);
	for (uint32_t i = 0; i < count; i++)
		memcpy(data + (size_t)i * b->cols, host_row(b, row + i),
		       b->cols * sizeof(float));
	return 0;
}

int host_poke(struct ops_ctx *ctx, enum ops_buffer which, uint32_t row,
	      uint32_t count, const float *data)
{
	const struct host_rows *b = &ctx->buf[which];

	assert(which < NR_OPS_BUFFERS && row <= b->rows &&
	       count <= b->rows - row);
	for (uint32_t i = 0; i < count; i++)
		memcpy(host_row(b, row + i), data + (size_t)i * b->cols,
		       b->cols * sizeof(float));
	return 0;
}

void host_begin_step(struct ops_ctx *ctx, const struct step *step)
{
	uint32_t nr_blocks = ctx->limits.nr_blocks;

	assert(step->nr_rows >= 1 && step->nr_rows <= ctx->limits.max_rows);
	assert(step->query_start[0] == 0);
	assert(step->query_start[step->nr_seqs] == step->nr_rows);
	for (uint32_t s = 0; s < step->nr_seqs; s++) {
		uint32_t first = step->query_start[s];
		uint32_t end = step->query_start[s + 1];
		uint32_t context = step->context_len[s];

		assert(first <= end && end <= step->nr_rows);
		assert(context <= ctx->limits.max_context);
		assert((context + OPS_BLOCK - 1) / OPS_BLOCK <=
		       step->table_stride);
		for (uint32_t b = 0; b * OPS_BLOCK < context; b++)
			assert(step->block_table[(size_t)s * step->table_stride +
						 b] < nr_blocks);
		for (uint32_t r = first; r < end; r++) {
			assert(step->position[r] < context);
			assert(r == first ||
			       step->position[r] > step->position[r - 1]);
			assert(step->slot[r] / OPS_BLOCK < nr_blocks);
			ctx->row_seq[r] = s;
		}
	}
	for (uint32_t i = 0; i < step->nr_outs; i++)
		assert(step->out_row[i] < step->nr_rows);
}

void host_unpair(float *x, uint32_t rotary_dim)
{
	float odd[HOST_MAX_HEAD_DIM / 2];

	for (uint32_t i = 0; i < rotary_dim / 2; i++) {
		odd[i] = x[2 * i + 1];
		x[i] = x[2 * i];
	}
	memcpy(x + rotary_dim / 2, odd, rotary_dim / 2 * sizeof(*odd));
}

const float *host_next_norm(const struct ops_ctx *ctx, uint32_t layer)
{
	return layer + 1 < ctx->shape.nr_layers
		       ? ctx->layer[layer + 1].attn_norm
		       : ctx->ends.norm;
}
