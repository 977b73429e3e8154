/* SPDX-License-Identifier: MIT */
#include "daemon/model/forward.h"
#include "kernels/ops.h"

/*
 * From the last layer's XN to tokens.  Only rows that want an output go
 * through the head (a prefill of 2,048 rows wants one row of logits), and
 * these in portions, for a row of logits is as long as the vocabulary.
 */
static int run_outputs(const struct forward *f, const struct step *s,
		       struct step_out *outs)
{
	const struct ops *ops = f->ops;
	struct ops_ctx *ctx = f->ctx;
	int ret = 0;

	for (uint32_t at = 0; at < s->nr_outs && !ret; at += f->max_logits) {
		uint32_t n = s->nr_outs - at;

		if (n > f->max_logits)
			n = f->max_logits;
		if ((ret = ops->head(ctx, s, at, n)) ||
		    (ret = ops->sample(ctx, outs + at, n)))
			break;
		ret = ops->score(ctx, outs + at, n);
	}
	return ret;
}

int forward_begin(const struct forward *f, const struct step *s,
		  struct step_out *outs)
{
	const struct ops *ops = f->ops;
	struct ops_ctx *ctx = f->ctx;
	int ret;

	if (ops->adopt) /* what was improved beside the last step */
		ops->adopt(ctx);
	ret = ops->embed_norm(ctx, s);
	for (uint32_t l = 0; l < f->nr_layers && !ret; l++) {
		if ((ret = ops->qkv_rope_kv(ctx, s, l)) ||
		    (ret = ops->attention(ctx, s, l)) ||
		    (ret = ops->out_norm(ctx, s, l)) ||
		    (ret = ops->gate_up(ctx, s, l)))
			break;
		ret = ops->down_norm(ctx, s, l);
	}
	if (!ret)
		ret = run_outputs(f, s, outs);
	if (!ret && ops->end_step)
		ret = ops->end_step(ctx, outs, s->nr_outs);
	return ret;
}

int forward_collect(const struct forward *f, struct step_out *outs, uint32_t nr)
{
	return f->ops->collect(f->ctx, outs, nr);
}

int forward_run(const struct forward *f, const struct step *s,
		struct step_out *outs)
{
	int ret = forward_begin(f, s, outs);

	if (!ret && f->ops->collect)
		ret = forward_collect(f, outs, s->nr_outs);
	return ret;
}
