/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/upload.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/layout.h"
#include "kernels/formats.h"
#include "kernels/half.h"
#include "kernels/pool.h"
#include "base/err.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN 16u /* rows that a thread takes at once */

int upload_open(struct upload *u, struct device *d, struct pool *pool,
		int max_cols, struct err *err)
{
	*u = (struct upload){
		.device = d,
		.pool = pool,
		.max_cols = max_cols,
	};
	u->scratch = malloc((size_t)pool_threads(pool) * (size_t)max_cols *
			    sizeof(*u->scratch));
	if (!u->scratch)
		return err_set(err, -ENOMEM, "no memory to pack weights");
	for (int i = 0; i < 2; i++) {
		u->stage[i].data = device_take_pinned(d, UPLOAD_STAGE, err);
		if (!u->stage[i].data) {
			upload_close(u);
			return -ENOMEM;
		}
		u->stage[i].event = device_take_event(d, err);
		if (!u->stage[i].event) {
			upload_close(u);
			return -EIO;
		}
	}
	return 0;
}

void upload_close(struct upload *u)
{
	free(u->scratch);
	*u = (struct upload){ 0 };
}

/* The buffer to fill next, free of its last copy; NULL: -EIO. */
static char *stage_take(struct upload *u)
{
	if (device_wait_for(u->device, u->stage[u->next].event))
		return NULL;
	return u->stage[u->next].data;
}

/* It is full with @size bytes for @dst. */
static int stage_send(struct upload *u, void *dst, size_t size)
{
	int i = u->next;
	int ret = device_send(u->device, dst, u->stage[i].data, size);

	u->next = !i;
	return ret ? ret : device_record(u->device, u->stage[i].event);
}

int upload_bytes(struct upload *u, void *dst, const void *src, size_t size)
{
	for (size_t at = 0; at < size; at += UPLOAD_STAGE) {
		size_t n = size - at < UPLOAD_STAGE ? size - at : UPLOAD_STAGE;
		char *stage = stage_take(u);

		if (!stage)
			return -EIO;
		memcpy(stage, (const char *)src + at, n);
		if (stage_send(u, (char *)dst + at, n))
			return -EIO;
	}
	return 0;
}

/* What the threads share while they fill a stage. */
struct filling {
	struct upload *u;
	struct pack pack; /* w: the stage, of rows first_row .. end_row - 1 */
	int end_row;
	const struct upload_part *part;
	/* upload_rows(): */
	const struct weight *w;
	uint32_t first;
	enum cuda_number number;
	atomic_int failed;
};

/* Rows [first, end) of a part, those that this stage has. */
static void fill_packed(void *arg, uint32_t thread, uint32_t first,
			uint32_t end)
{
	struct filling *f = arg;
	float *scratch =
		f->u->scratch + (size_t)thread * (size_t)f->u->max_cols;

	for (uint32_t r = first; r < end; r++) {
		int at = pack_row(&f->part->place, (int)r);

		if (at < f->pack.first_row || at >= f->end_row)
			continue;
		if (pack_weight(&f->pack, f->part->w, &f->part->place, (int)r,
				1, scratch))
			atomic_store(&f->failed, 1);
	}
}

int upload_packed(struct upload *u, const struct pack *shape,
		  const struct upload_part *parts, int nr_parts, void *w)
{
	int rows = layout_rows(shape->rows);
	size_t row_bytes = pack_bytes(shape->form, shape->rows, shape->cols) /
			   (size_t)rows;
	int whole = LAYOUT_ROWS; /* rows of a tile, which is not divided */
	int step = (int)(UPLOAD_STAGE / row_bytes) / whole * whole;

	if (!step)
		return -EINVAL;
	for (int at = 0; at < rows; at += step) {
		struct filling f = { .u = u, .pack = *shape };
		size_t size;

		f.end_row = rows - at < step ? rows : at + step;
		size = (size_t)(f.end_row - at) * row_bytes;
		f.pack.first_row = at;
		f.pack.scale = shape->scale ? shape->scale + at : NULL;
		f.pack.w = stage_take(u);
		if (!f.pack.w)
			return -EIO;
		memset(f.pack.w, 0, size);
		for (int i = 0; i < nr_parts; i++) {
			f.part = &parts[i];
			pool_run(u->pool, fill_packed, &f, parts[i].w->rows,
				 GRAIN);
		}
		if (atomic_load(&f.failed))
			return -EINVAL;
		if (stage_send(u, (char *)w + (size_t)at * row_bytes, size))
			return -EIO;
	}
	return 0;
}

static void fill_rows(void *arg, uint32_t thread, uint32_t first, uint32_t end)
{
	struct filling *f = arg;
	float *scratch =
		f->u->scratch + (size_t)thread * (size_t)f->u->max_cols;
	size_t cols = f->w->cols;

	for (uint32_t r = first; r < end; r++) {
		if (f->number == CUDA_F32) {
			weight_row(f->w, f->first + r,
				   (float *)f->pack.w + r * cols);
			continue;
		}
		if (f->number == CUDA_F16) { /* which it is already */
			memcpy((uint16_t *)f->pack.w + r * cols,
			       (const char *)f->w->data +
				       (f->first + r) * f->w->row_stride,
			       cols * 2);
			continue;
		}
		weight_row(f->w, f->first + r, scratch);
		for (size_t c = 0; c < cols; c++)
			((uint16_t *)f->pack.w)[r * cols + c] =
				f32_to_bf16(scratch[c]);
	}
}

int upload_rows(struct upload *u, void *dst, const struct weight *w,
		enum cuda_number number)
{
	size_t row_bytes = (size_t)w->cols * (number == CUDA_F32 ? 4 : 2);
	uint32_t step = (uint32_t)(UPLOAD_STAGE / row_bytes);

	if (!step)
		return -EINVAL;
	for (uint32_t at = 0; at < w->rows; at += step) {
		uint32_t n = w->rows - at < step ? w->rows - at : step;
		struct filling f = {
			.u = u,
			.w = w,
			.first = at,
			.number = number,
		};

		f.pack.w = stage_take(u);
		if (!f.pack.w)
			return -EIO;
		pool_run(u->pool, fill_rows, &f, n, GRAIN);
		if (stage_send(u, (char *)dst + at * row_bytes, n * row_bytes))
			return -EIO;
	}
	return 0;
}
