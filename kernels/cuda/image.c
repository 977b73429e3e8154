/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/image.h"

#include "kernels/cuda/device.h"
#include "kernels/ops.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint32_t blocks_of(uint32_t tokens)
{
	return (tokens + OPS_BLOCK - 1) / OPS_BLOCK;
}

size_t image_words(const struct plan_limits *plan, const struct ops_limits *l)
{
	size_t rows = l->max_rows, seqs = l->max_seqs;

	/* token, position, slot, out_row; query_start, context_len */
	return 4 * rows + 2 * seqs + 1 +
	       2 * (size_t)plan_max_units(plan->group, l->max_rows,
					  l->max_seqs) +
	       seqs * blocks_of(l->max_context);
}

int image_open(struct image *m, struct device *d,
	       const struct plan_limits *plan, const struct ops_limits *limits,
	       struct err *err)
{
	size_t words = image_words(plan, limits);

	*m = (struct image){ .limits = *plan, .max_words = words };
	m->dev = device_take(d, words * sizeof(*m->dev), err);
	m->host = device_take_pinned(d, words * sizeof(*m->host), err);
	return m->dev && m->host ? 0 : -ENOMEM;
}

/* The next @n words of the image: here, and *ret_dev on the device. */
static uint32_t *words(struct image *m, size_t *at, size_t n,
		       const uint32_t **ret_dev)
{
	uint32_t *host = m->host + *at;

	assert(n <= m->max_words - *at);
	*ret_dev = m->dev + *at;
	*at += n;
	return host;
}

static void put(struct image *m, size_t *at, size_t n, const uint32_t *src,
		const uint32_t **ret_dev)
{
	uint32_t *host = words(m, at, n, ret_dev);

	if (n)
		memcpy(host, src, n * sizeof(*src));
}

/* Of each row of the block table as much as the longest context wants. */
static void put_table(struct image *m, size_t *at, const struct step *s)
{
	uint32_t *host, stride = 0;

	for (uint32_t i = 0; i < s->nr_seqs; i++)
		if (blocks_of(s->context_len[i]) > stride)
			stride = blocks_of(s->context_len[i]);
	m->table_stride = stride;
	host = words(m, at, (size_t)s->nr_seqs * stride, &m->block_table);
	for (uint32_t i = 0; i < s->nr_seqs; i++) {
		uint32_t n = blocks_of(s->context_len[i]);

		memcpy(host + (size_t)i * stride,
		       s->block_table + (size_t)i * s->table_stride,
		       n * sizeof(*host));
		memset(host + (size_t)i * stride + n, 0,
		       (stride - n) * sizeof(*host));
	}
}

int image_send(struct image *m, struct device *d, const struct step *s)
{
	size_t at = 0, units;
	uint32_t *work;

	put(m, &at, s->nr_rows, s->token, &m->token);
	put(m, &at, s->nr_rows, s->position, &m->position);
	put(m, &at, s->nr_rows, s->slot, &m->slot);
	put(m, &at, s->nr_outs, s->out_row, &m->out_row);
	put(m, &at, s->nr_seqs + (size_t)1, s->query_start, &m->query_start);
	put(m, &at, s->nr_seqs, s->context_len, &m->context_len);
	put_table(m, &at, s);
	work = words(m, &at, 0, &m->work);
	units = plan_max_units(m->limits.group, s->nr_rows, s->nr_seqs);
	assert(2 * units <= m->max_words - at);
	plan_step(&m->limits, s, (int32_t *)work, &m->plan);
	at += 2 * (size_t)m->plan.nr_units;
	return device_send(d, m->dev, m->host, at * sizeof(*m->host));
}
