/* SPDX-License-Identifier: MIT */
#include "daemon/model/model.h"
#include "base/err.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"
#include "daemon/model/digest.h"
#include "daemon/model/forward.h"
#include "daemon/model/gpusize.h"
#include "daemon/model/improver.h"
#include "daemon/model/kvsize.h"
#include "daemon/model/layers.h"
#include "daemon/model/weights.h"
#include "kernels/library.h"
#include "kernels/ops.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(KV_BLOCK == OPS_BLOCK, "one size of block");
_Static_assert(MAX_ALT == OPS_MAX_ALT, "one limit of alternatives");
_Static_assert(MODEL_MAX_EOS == ARCH_MAX_EOS, "one limit of end ids");
_Static_assert(ARCH_MAX_HEAD_DIM == ROPE_MAX_DIM, "one limit of head_dim");
_Static_assert((int)BACKEND_WEIGHTS_INT4 == (int)WEIGHTS_INT4, "one order");
_Static_assert(BATCH_LATE == OPS_LATE, "one name of a token to come");
_Static_assert(BACKEND_STEPS == OPS_STEPS, "as many steps under way");

#define DEFAULT_ROWS 512u
#define DEFAULT_SEQS 64u

struct model {
	struct backend be; /* first: a backend is a model */
	struct checkpoint checkpoint;
	struct weights weights;
	struct layers layers;
	float *rope;		/* owned: [context][head_dim / 2][2] */
	struct forward forward; /* ctx owned */
	uint32_t max_rows;
	/* a step's outputs in the op set's words; owned: [max_rows] each */
	uint32_t *out_row;
	struct step_out *outs;
	struct sampler *samplers;
	/* of the other steps that may be under way; owned; NULL: none may */
	struct step_out *more_outs;
	uint32_t nr_submitted, nr_collected;
	uint64_t fast_bytes; /* of the weights' faster form; 0 = none is made */
	struct improver improver;
};

/* ---- a step */

static void sampler_from(struct sampler *s, const struct sampling *from)
{
	*s = (struct sampler){
		.seed = from->seed,
		.temperature = from->temperature,
		.top_p = from->top_p,
		.min_p = from->min_p,
		.repetition = from->repetition_penalty,
		.frequency = from->frequency_penalty,
		.presence = from->presence_penalty,
		.top_k = from->top_k,
		.min_tokens = from->min_tokens,
		.nr_bias = from->nr_bias,
		.nr_end_ids = from->nr_end_ids,
		.bias_ids = from->bias_ids,
		.bias = from->bias,
		.end_ids = from->end_ids,
	};
}

/* What the batch wants of its rows, in the op set's words: @outs. */
static void outs_from(struct model *m, const struct batch *batch,
		      struct step_out *outs)
{
	for (uint32_t i = 0; i < batch->nr_outs; i++) {
		const struct batch_out *o = &batch->out[i];
		struct step_out *out = &outs[i];

		m->out_row[i] = o->row;
		out->sampler = NULL;
		out->token = o->target;
		out->nr_alt = o->nr_alt;
		out->position = o->position;
		out->prompt_len = o->prompt_len;
		out->history = o->history;
		if (o->want == BATCH_SCORE)
			continue;
		sampler_from(&m->samplers[i], o->sampling);
		out->sampler = &m->samplers[i];
	}
}

static void outs_to(const struct step_out *outs, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->nr_outs; i++) {
		struct batch_out *o = &batch->out[i];
		const struct step_out *out = &outs[i];

		o->token = out->token;
		o->logprob = out->logprob;
		memcpy(o->alt->token, out->alt_token,
		       o->nr_alt * sizeof(*o->alt->token));
		memcpy(o->alt->logprob, out->alt_logprob,
		       o->nr_alt * sizeof(*o->alt->logprob));
	}
}

static struct step step_from(const struct model *m, const struct batch *batch)
{
	assert(batch->nr_tokens <= m->max_rows);
	assert(batch->nr_outs <= m->max_rows);
	return (struct step){
		.nr_rows = batch->nr_tokens,
		.nr_seqs = batch->nr_seqs,
		.nr_outs = batch->nr_outs,
		.table_stride = batch->max_blocks,
		.token = batch->token,
		.position = batch->position,
		.slot = batch->slot,
		.query_start = batch->query_start,
		.context_len = batch->context_len,
		.block_table = batch->block_table,
		.out_row = m->out_row,
	};
}

static int model_run(struct backend *be, struct batch *batch)
{
	struct model *m = (struct model *)be;
	struct step step = step_from(m, batch);
	int ret;

	assert(m->nr_submitted == m->nr_collected);
	if (!batch->nr_tokens)
		return 0;
	outs_from(m, batch, m->outs);
	improver_step_begins(&m->improver);
	ret = forward_run(&m->forward, &step, m->outs);
	improver_step_ends(&m->improver);
	if (!ret)
		outs_to(m->outs, batch);
	return ret;
}

/* Of the @n-th step that is submitted. */
static struct step_out *outs_of(const struct model *m, uint32_t n)
{
	return n % BACKEND_STEPS ? m->more_outs : m->outs;
}

static int model_submit(struct backend *be, struct batch *batch)
{
	struct model *m = (struct model *)be;
	struct step step = step_from(m, batch);
	struct step_out *outs = outs_of(m, m->nr_submitted);

	assert(batch->nr_tokens);
	assert(m->nr_submitted - m->nr_collected < BACKEND_STEPS);
	outs_from(m, batch, outs);
	m->nr_submitted++;
	return forward_begin(&m->forward, &step, outs);
}

static int model_collect(struct backend *be, struct batch *batch)
{
	struct model *m = (struct model *)be;
	struct step_out *outs = outs_of(m, m->nr_collected);
	int ret;

	assert(m->nr_submitted != m->nr_collected);
	m->nr_collected++;
	ret = forward_collect(&m->forward, outs, batch->nr_outs);
	if (!ret)
		outs_to(outs, batch);
	return ret;
}

/* ---- opening */

/* On the CPU INT8 is rounded as matrices are bound; a device rounds itself. */
static bool rounds_here(const struct backend_options *opt)
{
	return !opt->library && opt->weights == BACKEND_WEIGHTS_INT8;
}

static int read_weights(struct model *m, const struct backend_options *opt,
			struct err *err)
{
	const char *path = opt->model;
	const struct arch *arch = &m->checkpoint.arch;
	const struct tensors *tensors = &m->checkpoint.tensors;
	const char *first;
	uint32_t n;
	int ret = checkpoint_open(&m->checkpoint, path, err);

	if (!ret)
		ret = weights_init(&m->weights, tensors, &arch->quant, err);
	m->weights.int8 = rounds_here(opt);
	m->weights.threads = opt->threads;
	if (!ret)
		ret = layers_bind(&m->layers, arch, &m->weights, err);
	weights_bound(&m->weights);
	if (!ret)
		ret = digest_model(tensors, m->be.info.digest, err);
	if (ret)
		return ret;
	first = weights_unused(&m->weights, &n);
	/* a tied model may carry its head a second time; nobody misses it */
	if (first &&
	    !(arch->tied && n == 1 && !strcmp(first, "lm_head.weight")))
		log_warn("%s: %u tensors have no place in %s, the first is %s",
			 path, n, arch->family, first);
	return 0;
}

static void shape_from(struct ops_shape *s, const struct arch *a)
{
	*s = (struct ops_shape){
		.dim = a->dim,
		.nr_heads = a->nr_heads,
		.nr_kv_heads = a->nr_kv_heads,
		.head_dim = a->head_dim,
		.rotary_dim = a->head_dim,
		.ffn = a->ffn,
		.vocab = a->vocab,
		.nr_layers = a->nr_layers,
		.norm_eps = a->norm_eps,
		.attn_scale = (float)(1 / sqrt(a->head_dim)),
	};
}

/* What the faster form of all weights takes, where there is one. */
static uint64_t fast_bytes(const struct ops *ops, const struct layers *p,
			   uint32_t nr_layers)
{
	uint64_t sum;

	if (!ops->improve)
		return 0;
	sum = ops->improved_bytes(&p->ends.head);
	for (uint32_t i = 0; i < nr_layers; i++) {
		const struct ops_layer *l = &p->layer[i];
		const struct weight *w[OPS_LAYER_MATRICES] = {
			&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down,
		};

		for (uint32_t k = 0; k < OPS_LAYER_MATRICES; k++)
			sum += ops->improved_bytes(w[k]);
	}
	return sum;
}

/* Memory that is left for KV; decides about the faster form of the weights. */
static uint64_t kv_available(struct model *m, const struct ops *ops,
			     const struct backend_options *opt)
{
	uint64_t available = kvsize_available(), fast;

	fast = fast_bytes(ops, &m->layers, m->checkpoint.arch.nr_layers);
	if (!fast || opt->weights_file)
		return available;
	if (!kvsize_has_room(available, fast, opt->kv_bytes)) {
		log_warn("%s: no room for a faster form of the weights "
			 "(%.1f MiB), so they serve as the file has them",
			 opt->model, (double)fast / (1 << 20));
		return available;
	}
	m->fast_bytes = fast;
	return available - fast;
}

/* Packed, or FP8: what has fewer bits than F16. */
static bool is_narrow(const struct weight *w)
{
	return w->type > WEIGHT_BF16;
}

/* How to keep keys and values: as wide as the weights' own precision asks. */
static enum kv_type kv_type(const struct model *m, enum backend_kv kv)
{
	const struct layers *p = &m->layers;
	bool packed = is_narrow(&p->ends.head);

	for (uint32_t i = 0; i < m->checkpoint.arch.nr_layers; i++) {
		const struct ops_layer *l = &p->layer[i];

		packed |= is_narrow(&l->q) || is_narrow(&l->k) ||
			  is_narrow(&l->v) || is_narrow(&l->o) ||
			  is_narrow(&l->gate) || is_narrow(&l->up) ||
			  is_narrow(&l->down);
	}
	if (m->forward.ops->device && kv == BACKEND_KV_AUTO)
		return KV_BF16;
	switch (kv) {
	case BACKEND_KV_F32:
		return KV_F32;
	case BACKEND_KV_F16:
		return KV_F16;
	case BACKEND_KV_Q8:
		return KV_Q8;
	default:
		return packed ? KV_F16 : KV_F32;
	}
}

/* The same of a GPU's memory. */
static int kv_device(const struct model *m, const struct ops *ops,
		     const struct backend_options *opt,
		     const struct ops_shape *shape,
		     const struct ops_limits *limits, uint64_t *ret_kv,
		     struct err *err)
{
	struct ops_device d;
	int ret = ops->device(opt->device, &d, err);

	if (ret)
		return ret;
	return gpusize_plan(
		&(struct gpusize_ask){
			.where = opt->model,
			.device = d.name,
			.number = opt->device,
			.total = d.total,
			.available = d.available,
			.bytes = opt->gpu_memory,
			.share = opt->gpu_share,
			.weights = ops->loaded_bytes(shape, &m->layers.ends,
						     m->layers.layer),
			/* block 0 comes on top of what KV is asked for */
			.buffers = ops->buffer_bytes(shape, limits) +
				   ops->kv_block_bytes(shape),
		},
		ret_kv, err);
}

/* How large the KV pool is, and what a sequence may hold. */
static int size_kv(struct model *m, const struct backend_options *opt,
		   const struct ops_shape *shape,
		   const struct ops_limits *limits, struct kvsize *ret_size,
		   struct err *err)
{
	const struct ops *ops = m->forward.ops;
	const struct arch *a = &m->checkpoint.arch;
	struct kvsize_ask ask = {
		.where = opt->model,
		.kv_bytes = opt->kv_bytes,
		.max_context = opt->max_context,
		.model_context = a->context,
		.max_seqs = limits->max_seqs,
		.block_bytes = ops->kv_block_bytes(shape),
	};
	int ret;

	if (ops->device) {
		ret = kv_device(m, ops, opt, shape, limits, &ask.available,
				err);
		if (ret)
			return ret;
		ask.most = ask.available;
	} else {
		ask.available = kv_available(m, ops, opt);
		ask.most = ask.available / 2;
	}
	ret = kvsize_plan(&ask, ret_size, err);
	if (ret)
		return ret;
	if (!opt->max_context && ret_size->context < a->context)
		log_warn("%s: memory for KV holds %u tokens, so that is the "
			 "context (the model's: %u)",
			 opt->model, ret_size->context, a->context);
	m->be.info.context = ret_size->context;
	m->be.info.nr_blocks = ret_size->nr_blocks;
	m->be.info.kv_token_bytes = (uint32_t)(ask.block_bytes / KV_BLOCK);
	return 0;
}

static int choose_ops(struct model *m, const struct backend_options *opt,
		      struct err *err)
{
	if (opt->library)
		return ops_load(opt->library, &m->forward.ops, err);
	m->forward.ops = ops_find(opt->ops);
	if (!m->forward.ops)
		return err_set(err, -EINVAL,
			       "op set %s: not there, or not for this machine",
			       opt->ops ? opt->ops : "(any)");
	return 0;
}

/* Size the pool, take all memory that a step will need. */
static int open_ops(struct model *m, const struct backend_options *opt,
		    struct err *err)
{
	struct ops_limits limits = {
		.max_rows = opt->max_tokens_per_step ? opt->max_tokens_per_step
						     : DEFAULT_ROWS,
		.max_seqs = opt->max_seqs ? opt->max_seqs : DEFAULT_SEQS,
		.max_logits = opt->library ? MODEL_DEVICE_LOGITS
					   : MODEL_MAX_LOGITS,
		.max_context = opt->max_context ? opt->max_context
						: m->checkpoint.arch.context,
		.threads = opt->threads,
		.device = opt->device,
		.whole_steps = !opt->each_op,
	};
	struct ops_shape shape;
	struct kvsize size;
	int ret;

	if (limits.max_logits > limits.max_rows)
		limits.max_logits = limits.max_rows;
	shape_from(&shape, &m->checkpoint.arch);
	shape.kv = kv_type(m, opt->kv);
	shape.weights = rounds_here(opt) ? WEIGHTS_AS_IS
					 : (enum weight_use)opt->weights;
	ret = size_kv(m, opt, &shape, &limits, &size, err);
	if (ret)
		return ret;
	m->max_rows = limits.max_rows;
	m->forward.nr_layers = shape.nr_layers;
	m->forward.max_logits = limits.max_logits;
	limits.max_context = size.context;
	limits.nr_blocks = size.nr_blocks;
	return m->forward.ops->open(&shape, &limits, &m->forward.ctx, err);
}

static uint64_t matrix_bytes(const struct weight *w)
{
	return (uint64_t)w->rows * w->row_stride;
}

static uint64_t ends_bytes(const struct ops_ends *e)
{
	/* the embedding may be the head as well */
	return matrix_bytes(&e->embed) +
	       (e->head.data == e->embed.data ? 0 : matrix_bytes(&e->head));
}

static uint64_t layer_bytes(const struct ops_layer *l)
{
	return matrix_bytes(&l->q) + matrix_bytes(&l->k) + matrix_bytes(&l->v) +
	       matrix_bytes(&l->o) + matrix_bytes(&l->gate) +
	       matrix_bytes(&l->up) + matrix_bytes(&l->down);
}

/* Hand the weights over: what stands before and after the layers, then these. */
static int hand_over(struct model *m, const struct backend_options *opt,
		     struct err *err)
{
	const struct forward *f = &m->forward;
	uint32_t n = m->checkpoint.arch.nr_layers;
	uint64_t done = 0, total = ends_bytes(&m->layers.ends);
	int ret;

	for (uint32_t i = 0; i < n; i++)
		total += layer_bytes(&m->layers.layer[i]);
	if (opt->progress)
		opt->progress(opt->progress_arg, done, total);
	ret = f->ops->load_ends(f->ctx, &m->layers.ends, err);
	done += ends_bytes(&m->layers.ends);
	for (uint32_t i = 0; i < n && !ret; i++) {
		if (opt->progress)
			opt->progress(opt->progress_arg, done, total);
		m->layers.layer[i].rope = m->rope;
		ret = f->ops->load_layer(f->ctx, i, &m->layers.layer[i], err);
		done += layer_bytes(&m->layers.layer[i]);
	}
	if (opt->progress)
		opt->progress(opt->progress_arg, total, total);
	return ret;
}

/* Memory of the host that steps want, then the weights. */
static int load(struct model *m, const struct backend_options *opt,
		struct err *err)
{
	const struct arch *a = &m->checkpoint.arch;
	int ret;

	m->rope = calloc((size_t)m->be.info.context * a->head_dim,
			 sizeof(*m->rope));
	m->out_row = calloc(m->max_rows, sizeof(*m->out_row));
	m->outs = calloc(m->max_rows, sizeof(*m->outs));
	m->samplers = calloc(m->max_rows, sizeof(*m->samplers));
	if (m->be.submit)
		m->more_outs = calloc(m->max_rows, sizeof(*m->more_outs));
	if (!m->rope || !m->out_row || !m->outs || !m->samplers ||
	    (m->be.submit && !m->more_outs))
		return err_set(err, -ENOMEM, "%s: no memory for a step of %u",
			       opt->model, m->max_rows);
	rope_fill(&a->rope, a->head_dim, m->be.info.context, m->rope);
	ret = hand_over(m, opt, err);
	if (m->forward.ops->device)
		weights_done(&m->weights);
	return ret;
}

/* What the directory or the file is called, without ".gguf". */
static void name_from(char *name, size_t size, const char *path)
{
	char *real = realpath(path, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;
	const char *last = slash && slash[1] ? slash + 1 : "model";
	size_t n = strlen(last), tail = strlen(".gguf");

	if (n > tail && !strcmp(last + n - tail, ".gguf"))
		n -= tail;
	snprintf(name, size, "%.*s", (int)n, last);
	free(real);
}

static void fill_info(struct model *m, const char *path)
{
	const struct arch_generation *gen = &m->checkpoint.generation;
	const struct arch *a = &m->checkpoint.arch;
	struct model_info *info = &m->be.info;

	name_from(info->name, sizeof(info->name), path);
	info->arith = m->forward.ops->arith_of(m->forward.ctx);
	info->vocab = a->vocab;
	info->parameters = m->layers.count;
	info->nr_eos = a->nr_eos;
	memcpy(info->eos, a->eos, sizeof(info->eos));
	info->max_new_tokens = gen->max_new_tokens;
	info->temperature = gen->temperature;
	info->top_p = gen->top_p;
	info->min_p = gen->min_p;
	info->repetition_penalty = gen->repetition_penalty;
	info->top_k = gen->top_k;
}

static void model_close(struct backend *be)
{
	struct model *m = (struct model *)be;

	improver_stop(&m->improver);
	if (m->forward.ctx)
		m->forward.ops->close(m->forward.ctx);
	layers_deinit(&m->layers);
	weights_deinit(&m->weights);
	checkpoint_close(&m->checkpoint);
	free(m->rope);
	free(m->out_row);
	free(m->outs);
	free(m->samplers);
	free(m->more_outs);
	free(m);
}

int model_open(const struct backend_options *opt, struct backend **ret_be,
	       struct err *err)
{
	struct model *m;
	int ret;

	if (!opt->model)
		return err_set(err, -EINVAL, "no model is given");
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, -ENOMEM, "%s: no memory", opt->model);
	m->be.run = model_run;
	m->be.close = model_close;
	ret = choose_ops(m, opt, err);
	if (!ret && m->forward.ops->collect) {
		m->be.submit = model_submit;
		m->be.collect = model_collect;
	}
	if (ret || (ret = read_weights(m, opt, err)) ||
	    (ret = open_ops(m, opt, err)) || (ret = load(m, opt, err))) {
		model_close(&m->be);
		return ret;
	}
	fill_info(m, opt->model);
	if (m->fast_bytes)
		improver_start(&m->improver, &m->forward,
			       m->forward.nr_layers * OPS_LAYER_MATRICES + 1);
	*ret_be = &m->be;
	return 0;
}

const struct forward *model_forward(const struct backend *be)
{
	return &((const struct model *)be)->forward;
}
