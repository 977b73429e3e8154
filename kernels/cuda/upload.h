/* SPDX-License-Identifier: MIT */
/*
 * upload.h - weights on their way to the device: threads pack a stripe into
 * one of two pinned buffers while the other is still being copied.
 */
#ifndef KERNELS_CUDA_UPLOAD_H
#define KERNELS_CUDA_UPLOAD_H

#include "kernels/cuda/pack.h"

struct device;
struct err;
struct pool;

#define UPLOAD_STAGE ((size_t)8 << 20) /* bytes of a buffer */

struct upload {
	struct device *device; /* borrowed */
	struct pool *pool;     /* borrowed */
	struct {
		char *data;  /* pinned, the device's; [UPLOAD_STAGE] */
		void *event; /* the device's: its last copy is over */
	} stage[2];
	int next;	/* the stage that comes */
	float *scratch; /* owned: [threads][max_cols] */
	int max_cols;
};

/* A matrix that goes into a packed one, and where its rows go. */
struct upload_part {
	const struct weight *w;
	struct pack_place place;
};

/* @max_cols: of any matrix.  0, -ENOMEM or -EIO and @err. */
int upload_open(struct upload *u, struct device *d, struct pool *pool,
		int max_cols, struct err *err);
void upload_close(struct upload *u); /* before the device's */

/*
 * @size bytes of the host, of any memory, to the device; they were read when
 * it returns.  0 or -EIO.
 */
int upload_bytes(struct upload *u, void *dst, const void *src, size_t size);

/*
 * The packed matrix that @shape describes (its w is not read) into @w, device
 * memory of pack_bytes(), from @parts; rows that none of them has are zeros.
 * Scales are left in shape->scale.  0, -EIO, or -EINVAL where pack_weight()
 * says so.
 */
int upload_packed(struct upload *u, const struct pack *shape,
		  const struct upload_part *parts, int nr_parts, void *w);

/*
 * Rows of @w one after the other: as F32, rounded to bf16, or CUDA_F16 where it
 * is of that type.
 */
int upload_rows(struct upload *u, void *dst, const struct weight *w,
		enum cuda_number number);

#endif
