/* SPDX-License-Identifier: MIT */
/*
 * parts.h - which matrices of the model share an input, in the order of their
 * answers.  Each fills @ret, [LINEAR_PARTS], and says how many there are.
 */
#ifndef KERNELS_CUDA_PARTS_H
#define KERNELS_CUDA_PARTS_H

#include "kernels/cuda/linear.h"
#include "kernels/ops.h"

static inline int parts_qkv(const struct ops_layer *w, struct linear_part *ret)
{
	enum pack_order order = w->qk_pairs ? PACK_PAIRS : PACK_AS_IS;

	ret[0] = (struct linear_part){ &w->q, w->q_bias, order };
	ret[1] = (struct linear_part){ &w->k, w->k_bias, order };
	ret[2] = (struct linear_part){ &w->v, w->v_bias, PACK_AS_IS };
	return 3;
}

static inline int parts_o(const struct ops_layer *w, struct linear_part *ret)
{
	ret[0] = (struct linear_part){ &w->o, w->o_bias, PACK_AS_IS };
	return 1;
}

static inline int parts_gate_up(const struct ops_layer *w,
				struct linear_part *ret)
{
	ret[0] = (struct linear_part){ &w->gate, w->gate_bias, PACK_GATE };
	ret[1] = (struct linear_part){ &w->up, w->up_bias, PACK_UP };
	return 2;
}

static inline int parts_down(const struct ops_layer *w, struct linear_part *ret)
{
	ret[0] = (struct linear_part){ &w->down, w->down_bias, PACK_AS_IS };
	return 1;
}

static inline int parts_head(const struct ops_ends *w, struct linear_part *ret)
{
	ret[0] = (struct linear_part){ &w->head, NULL, PACK_AS_IS };
	return 1;
}

#endif
