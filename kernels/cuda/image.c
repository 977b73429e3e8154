/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/image.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/ops.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint32_t blocks_of(uint32_t tokens)
{
	return (tokens + OPS_BLOCK - 1) / OPS_BLOCK;
}

/* Words of a struct that kernels read. */
#define WORDS_OF(type) (sizeof(type) / sizeof(uint32_t))

size_t image_words(const struct plan_limits *plan, const struct ops_limits *l)
{
	size_t rows = l->max_rows, seqs = l->max_seqs;
	struct plan_limits most = *plan;

	most.warps = PLAN_WARPS; /* the same on any device */
	most.many = 1;
	/* token, position, slot, out_row; query_start, context_len */
	return WORDS_OF(struct cuda_attention_plan) + 4 * rows + 2 * seqs + 1 +
	       WORDS_OF(struct cuda_attention_work) *
		       ((size_t)plan_max_work(&most, l->max_rows, l->max_seqs) +
			plan_max_many(&most, l->max_rows)) +
	       seqs * blocks_of(l->max_context);
}

int image_open(struct image *m, struct device *d,
	       const struct plan_limits *plan, const struct ops_limits *limits,
	       struct err *err)
{
	size_t words = image_words(plan, limits);

	*m = (struct image){
		.limits = *plan,
		.max_words = words,
		.max_seqs = limits->max_seqs,
	};
	m->dev = device_take(d, words * sizeof(*m->dev), err);
	if (!m->dev)
		return -ENOMEM;
	for (int i = 0; i < 2; i++) {
		m->host[i].data = device_take_pinned(
			d, words * sizeof(*m->host[i].data), err);
		if (!m->host[i].data)
			return -ENOMEM;
		m->host[i].copied = device_take_event(d, err);
		if (!m->host[i].copied)
			return -EIO;
	}
	return 0;
}

/* ---- an image in the making ---- */

struct writing {
	struct image *m;
	uint32_t *host;
	size_t at; /* words so far */
};

/* The next @n words: here, and *ret_dev on the device. */
static void *words(struct writing *w, size_t n, const uint32_t **ret_dev)
{
	uint32_t *host = w->host + w->at;

	assert(n <= w->m->max_words - w->at);
	*ret_dev = w->m->dev + w->at;
	w->at += n;
	return host;
}

/* @n words of @src, in room for @room; the rest is 0. */
static void put(struct writing *w, size_t n, size_t room, const uint32_t *src,
		const uint32_t **ret_dev)
{
	uint32_t *host = words(w, room, ret_dev);

	assert(n <= room);
	if (n)
		memcpy(host, src, n * sizeof(*src));
	memset(host + n, 0, (room - n) * sizeof(*src));
}

/*
 * Of each row of the block table as much as the longest context wants; returns
 * that.
 */
static uint32_t put_table(struct writing *w, const struct step *s)
{
	uint32_t *host, stride = 0;

	for (uint32_t i = 0; i < s->nr_seqs; i++)
		if (blocks_of(s->context_len[i]) > stride)
			stride = blocks_of(s->context_len[i]);
	host = words(w, (size_t)s->nr_seqs * stride, &w->m->block_table);
	for (uint32_t i = 0; i < s->nr_seqs; i++) {
		uint32_t n = blocks_of(s->context_len[i]);

		memcpy(host + (size_t)i * stride,
		       s->block_table + (size_t)i * s->table_stride,
		       n * sizeof(*host));
		memset(host + (size_t)i * stride + n, 0,
		       (stride - n) * sizeof(*host));
	}
	return stride;
}

/* What is sent; the words of it. */
static size_t write_down(struct image *m, uint32_t *host, const struct step *s,
			 uint32_t rows)
{
	uint32_t seqs = rows < m->max_seqs ? rows : m->max_seqs;
	struct writing w = { .m = m, .host = host };
	struct cuda_attention_plan *numbers;
	struct cuda_attention_work *work, *many;
	uint32_t max_work, max_many;
	const uint32_t *dev;
	struct plan plan;

	if (seqs < s->nr_seqs)
		seqs = s->nr_seqs;
	m->rows = rows;
	max_work = plan_max_work(&m->limits, rows, seqs);
	max_many = plan_max_many(&m->limits, rows);
	numbers = words(&w, WORDS_OF(*numbers), &dev);
	m->plan = (const void *)dev;
	put(&w, s->nr_rows, rows, s->token, &m->token);
	put(&w, s->nr_rows, rows, s->position, &m->position);
	put(&w, s->nr_rows, rows, s->slot, &m->slot);
	put(&w, s->nr_seqs + (size_t)1, seqs + (size_t)1, s->query_start,
	    &m->query_start);
	put(&w, s->nr_seqs, seqs, s->context_len, &m->context_len);
	work = words(&w, WORDS_OF(*work) * (size_t)max_work, &dev);
	m->work = (const void *)dev;
	many = words(&w, WORDS_OF(*many) * (size_t)max_many, &dev);
	m->many = (const void *)dev;
	plan_step(&m->limits, s, many, work, &plan);
	assert(plan.nr_work <= max_work && plan.nr_many <= max_many);
	m->nr_many = plan.nr_many;
	m->nr_work = plan.nr_many ? plan.nr_work : max_work;
	/* the rest: sequence -1 */
	memset(work + plan.nr_work, 0xff,
	       (max_work - plan.nr_work) * sizeof(*work));
	memset(many + plan.nr_many, 0xff,
	       (max_many - plan.nr_many) * sizeof(*many));
	*numbers = (struct cuda_attention_plan){
		.table_stride = (int)put_table(&w, s),
		.max_tiles = (int)plan.divided_tiles,
		.tiles_per_warp = (int)plan.tiles_per_warp,
	};
	put(&w, s->nr_outs, s->nr_outs, s->out_row, &m->out_row);
	return w.at;
}

int image_send(struct image *m, struct device *d, const struct step *s,
	       uint32_t rows)
{
	int i = m->next, ret;
	size_t n;

	if (m->host[i].in_flight &&
	    (ret = device_wait_for(d, m->host[i].copied)))
		return ret;
	n = write_down(m, m->host[i].data, s, rows);
	ret = device_send(d, m->dev, m->host[i].data,
			  n * sizeof(*m->host[i].data));
	if (!ret)
		ret = device_record(d, m->host[i].copied);
	m->host[i].in_flight = 1;
	m->next = !i;
	return ret;
}

int image_last(const struct image *m)
{
	return !m->next;
}

void image_landed(struct image *m, int which)
{
	m->host[which].in_flight = 0;
}
