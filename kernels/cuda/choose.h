/* SPDX-License-Identifier: MIT */
/*
 * choose.h - tokens from LOGITS (ops.h: sample, score, end_step, collect): what
 * samplers say goes to the device in one piece, what was chosen and judged comes
 * back in one, and that is what a step is waited for.  Until then what the host
 * has of it in pinned memory is not written again: two steps have two of it.
 */
#ifndef KERNELS_CUDA_CHOOSE_H
#define KERNELS_CUDA_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

struct choose;
struct device;
struct err;
struct ops_ctx;
struct ops_limits;
struct ops_shape;
struct place;
struct step_out;

/* The device's part of it; place.h. */
void choose_place(struct place *p, const struct ops_shape *shape,
		  const struct ops_limits *limits, struct choose *ret);
/* The pinned part.  0, or -ENOMEM or -EIO and @err. */
int choose_open(struct choose *c, struct device *d,
		const struct ops_shape *shape, const struct ops_limits *limits,
		struct err *err);

int op_sample_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);
int op_score_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);
int op_end_step_cuda(struct ops_ctx *ctx, const struct step_out *outs,
		     uint32_t count);
int op_collect_cuda(struct ops_ctx *ctx, struct step_out *outs, uint32_t count);

/* The tokens of the step before, on the device, [nr_before]; see OPS_LATE. */
const uint32_t *choose_late(const struct ops_ctx *ctx);

#endif
