/* SPDX-License-Identifier: MIT */
#include "checkpoint/arch_gguf.h"
#include "base/err.h"
#include "base/gguf.h"
#include "base/gguf_get.h"
#include "checkpoint/arch.h"
#include "checkpoint/tensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct family {
	const char *name; /* general.architecture */
	const char *hf;	  /* what a directory of the same calls it */
	bool pairs;	  /* rows of q and k in the order of rotary pairs */
	bool qkv_bias;	  /* always there */
	bool qk_norm;
	bool window; /* attention.sliding_window counts, on every layer */
} families[] = {
	{ "llama", "LlamaForCausalLM", .pairs = true, .window = true },
	{ "qwen2", "Qwen2ForCausalLM", .qkv_bias = true },
	{ "qwen3", "Qwen3ForCausalLM", .qk_norm = true },
};

/* What reading carries along. */
struct ask {
	const struct gguf *g;
	const struct tensors *t;
	const struct family *family;
	struct err *err;
	char key[96]; /* of the last question */
};

/* "llama.block_count" */
static const char *key(struct ask *a, const char *rest)
{
	snprintf(a->key, sizeof(a->key), "%s.%s", a->family->name, rest);
	return a->key;
}

static int get_u32(struct ask *a, const char *rest, uint32_t min, uint32_t max,
		   uint32_t *ret)
{
	return gguf_get_u32(a->g, key(a, rest), min, max, ret, a->err);
}

static int get_f64(struct ask *a, const char *rest, double min, double max,
		   double *ret)
{
	return gguf_get_f64(a->g, key(a, rest), min, max, ret, a->err);
}

/* A number, or one a layer: supported are layers that are all alike. */
static int get_for_layers(struct ask *a, const char *rest, uint32_t max,
			  uint32_t *ret)
{
	const struct gguf_value *v = gguf_find(a->g, key(a, rest));
	int r;

	if (!v || !v->is_array)
		return get_u32(a, rest, 1, max, ret);
	r = gguf_get_array(a->g, a->key, GGUF_INTEGERS, &v, a->err);
	if (r)
		return r;
	for (uint64_t i = 0; i < v->count; i++) {
		int64_t n = gguf_int(v, i);

		if (n < 1 || n > max || n != gguf_int(v, 0))
			return err_set(a->err, -EINVAL,
				       "%s: %s[%llu] is %lld, supported is one "
				       "for all layers, 1 to %u",
				       a->g->where, a->key,
				       (unsigned long long)i, (long long)n,
				       max);
	}
	if (v->count)
		*ret = (uint32_t)gguf_int(v, 0);
	return 0;
}

static int need(struct ask *a, const char *rest, uint32_t max, uint32_t *ret)
{
	if (!gguf_find(a->g, key(a, rest)))
		return err_set(a->err, -EINVAL,
			       "%s: %s is absent, needed: 1 to %u", a->g->where,
			       a->key, max);
	return get_for_layers(a, rest, max, ret);
}

static int find_family(struct ask *a)
{
	char *name = NULL;
	int ret = gguf_get_str(a->g, "general.architecture", &name, a->err);

	if (ret)
		return ret;
	for (size_t i = 0; name && i < sizeof(families) / sizeof(*families);
	     i++)
		if (!strcmp(name, families[i].name))
			a->family = &families[i];
	if (!a->family)
		ret = err_set(a->err, -EINVAL,
			      "%s: general.architecture is %s, supported are "
			      "llama, qwen2, qwen3",
			      a->g->where, name ? name : "absent");
	free(name);
	return ret;
}

static int read_sizes(struct ask *a, struct arch *m)
{
	const struct tensor *embed =
		tensors_find(a->t, "model.embed_tokens.weight");
	double eps = 0;
	int ret;

	if (!embed || embed->nr_dims != 2 || embed->shape[0] > ARCH_MAX_VOCAB)
		return err_set(a->err, -EINVAL,
			       "%s: token_embd.weight is %s, needed: a matrix "
			       "of at most %u rows",
			       a->t->path,
			       embed ? "of another shape" : "absent",
			       ARCH_MAX_VOCAB);
	m->vocab = (uint32_t)embed->shape[0];
	if ((ret = need(a, "embedding_length", ARCH_MAX_DIM, &m->dim)) ||
	    (ret = need(a, "feed_forward_length", ARCH_MAX_FFN, &m->ffn)) ||
	    (ret = need(a, "block_count", ARCH_MAX_LAYERS, &m->nr_layers)) ||
	    (ret = need(a, "context_length", ARCH_MAX_CONTEXT, &m->context)) ||
	    (ret = need(a, "attention.head_count", ARCH_MAX_HEADS,
			&m->nr_heads)))
		return ret;
	m->nr_kv_heads = m->nr_heads;
	if ((ret = get_for_layers(a, "attention.head_count_kv", ARCH_MAX_HEADS,
				  &m->nr_kv_heads)) ||
	    (ret = get_f64(a, "attention.layer_norm_rms_epsilon", 1e-20, 0.1,
			   &eps)))
		return ret;
	if (eps == 0)
		return err_set(a->err, -EINVAL,
			       "%s: %s is absent, needed: 1e-20 to 0.1",
			       a->g->where, a->key);
	m->norm_eps = (float)eps;
	return 0;
}

static int read_heads(struct ask *a, struct arch *m)
{
	uint32_t value, rotary;
	int ret;

	if (m->dim % m->nr_heads == 0)
		m->head_dim = m->dim / m->nr_heads;
	ret = get_u32(a, "attention.key_length", 2, ARCH_MAX_HEAD_DIM,
		      &m->head_dim);
	if (ret)
		return ret;
	value = rotary = m->head_dim;
	if ((ret = get_u32(a, "attention.value_length", 2, ARCH_MAX_HEAD_DIM,
			   &value)) ||
	    (ret = get_u32(a, "rope.dimension_count", 2, ARCH_MAX_HEAD_DIM,
			   &rotary)))
		return ret;
	/* 0 where no key says it and heads do not divide the rows */
	if (!m->head_dim || m->head_dim % 2 ||
	    m->head_dim > ARCH_MAX_HEAD_DIM || value != m->head_dim ||
	    rotary != m->head_dim)
		return err_set(a->err, -EINVAL,
			       "%s: heads have keys of %u, values of %u and %u "
			       "rotary dimensions, supported are three times "
			       "the same even number to %u",
			       a->g->where, m->head_dim, value, rotary,
			       ARCH_MAX_HEAD_DIM);
	if (m->nr_heads % m->nr_kv_heads)
		return err_set(a->err, -EINVAL,
			       "%s: %s.attention.head_count_kv is %u, allowed "
			       "are divisors of head_count, %u",
			       a->g->where, a->family->name, m->nr_kv_heads,
			       m->nr_heads);
	return 0;
}

/* What would change the function: only the value that leaves it as it is. */
static int refuse_others(struct ask *a)
{
	static const struct {
		const char *rest;
		double neutral;
	} rows[] = {
		{ "expert_count", 0 },
		{ "attention.clamp_kqv", 0 },
		{ "attention.scale", 0 },
		{ "attention.max_alibi_bias", 0 },
		{ "attn_logit_softcapping", 0 },
		{ "final_logit_softcapping", 0 },
		{ "logit_scale", 1 },
		{ "residual_scale", 1 },
		{ "embedding_scale", 1 },
		{ "rope.scaling.yarn_log_multiplier", 0 },
		{ "rope.scaling.yarn_ext_factor", 1 },
	};
	bool causal = true;
	int ret;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		double d = rows[i].neutral;

		ret = get_f64(a, rows[i].rest, -1e30, 1e30, &d);
		if (ret)
			return ret;
		if (d != rows[i].neutral)
			return err_set(a->err, -EINVAL,
				       "%s: %s is %g, supported is %g",
				       a->g->where, a->key, d, rows[i].neutral);
	}
	ret = gguf_get_bool(a->g, key(a, "attention.causal"), &causal, a->err);
	if (!ret && !causal)
		ret = err_set(a->err, -EINVAL,
			      "%s: %s is false, supported is true", a->g->where,
			      a->key);
	return ret;
}

static void read_switches(struct ask *a, struct arch *m)
{
#define THERE(name) (tensors_find(a->t, name) != NULL)
	m->tied = !THERE("lm_head.weight");
	m->qkv_bias = a->family->qkv_bias ||
		      THERE("model.layers.0.self_attn.q_proj.bias");
	m->out_bias = THERE("model.layers.0.self_attn.o_proj.bias");
	m->mlp_bias = THERE("model.layers.0.mlp.gate_proj.bias");
#undef THERE
	m->qk_norm = a->family->qk_norm;
	m->qk_pairs = a->family->pairs;
}

/* rope_freqs.weight: what each pair's frequency is divided by. */
static int read_divisors(struct ask *a, struct arch *m)
{
	const struct tensor *t = tensors_find(a->t, "rope_freqs.weight");
	uint32_t n = m->head_dim / 2;
	float f;

	if (!t)
		return 0;
	if (strcmp(t->type, "F32") || t->nr_dims != 1 || t->shape[0] != n)
		return err_set(a->err, -EINVAL,
			       "%s: rope_freqs.weight is not %u F32 numbers, "
			       "one a pair",
			       a->t->path, n);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(&f, t->data + 4 * i, 4);
		if (!(f >= 1e-6f && f <= 1e6f))
			return err_set(a->err, -EINVAL,
				       "%s: rope_freqs.weight[%u] is %g, "
				       "allowed 1e-6 to 1e+06",
				       a->t->path, i, (double)f);
		m->rope.divisor[i] = f;
	}
	return 0;
}

static int read_rope_kind(struct ask *a, struct rope *r)
{
	char *name = NULL;
	int ret =
		gguf_get_str(a->g, key(a, "rope.scaling.type"), &name, a->err);

	if (ret)
		return ret;
	/* without a type, a factor means linear: so it was at first */
	if (!name || !strcmp(name, "linear"))
		r->kind = ROPE_LINEAR;
	else if (!strcmp(name, "none"))
		r->kind = ROPE_DEFAULT;
	else if (!strcmp(name, "yarn"))
		r->kind = ROPE_YARN;
	else
		ret = err_set(a->err, -EINVAL,
			      "%s: %s is %s, supported are none, linear, yarn",
			      a->g->where, a->key, name);
	free(name);
	return ret;
}

static int read_yarn(struct ask *a, struct arch *m)
{
	struct rope *r = &m->rope;
	double attn = 1, yarn_attn = 1;
	int ret;

	r->original = m->context;
	r->beta_fast = 32;
	r->beta_slow = 1;
	r->truncate = true;
	if ((ret = get_f64(a, "rope.scaling.original_context_length", 1,
			   ARCH_MAX_CONTEXT, &r->original)) ||
	    (ret = get_f64(a, "rope.scaling.yarn_beta_fast", 1e-3, 1e6,
			   &r->beta_fast)) ||
	    (ret = get_f64(a, "rope.scaling.yarn_beta_slow", 1e-3, 1e6,
			   &r->beta_slow)) ||
	    (ret = get_f64(a, "rope.scaling.attn_factor", 1e-3, 1e3, &attn)) ||
	    (ret = get_f64(a, "rope.scaling.yarn_attn_factor", 1e-3, 1e3,
			   &yarn_attn)))
		return ret;
	if (r->beta_fast <= r->beta_slow)
		return err_set(a->err, -EINVAL,
			       "%s: yarn_beta_fast is %g, allowed is more than "
			       "yarn_beta_slow, %g",
			       a->g->where, r->beta_fast, r->beta_slow);
	r->attention = attn * yarn_attn * (0.1 * log(r->factor) + 1);
	return 0;
}

static int read_rope(struct ask *a, struct arch *m)
{
	struct rope *r = &m->rope;
	int ret;

	r->theta = 10000;
	r->factor = 1;
	if ((ret = get_f64(a, "rope.freq_base", 1.001, 1e15, &r->theta)) ||
	    (ret = get_f64(a, "rope.scale_linear", 0, 1e6, &r->factor)) ||
	    (ret = get_f64(a, "rope.scaling.factor", 0, 1e6, &r->factor)) ||
	    (ret = read_rope_kind(a, r)) || (ret = read_divisors(a, m)))
		return ret;
	if (r->factor == 0)
		r->factor = 1; /* as llama.cpp reads it: none */
	if (r->factor < 1)
		return err_set(a->err, -EINVAL,
			       "%s: rope.scaling.factor is %g, allowed 0 and "
			       "from 1",
			       a->g->where, r->factor);
	if (r->kind == ROPE_LINEAR && r->factor == 1)
		r->kind = ROPE_DEFAULT;
	return r->kind == ROPE_YARN ? read_yarn(a, m) : 0;
}

static int read_window(struct ask *a, struct arch *m)
{
	uint32_t window = 0;
	int ret;

	if (!a->family->window)
		return 0;
	if (gguf_find(a->g, key(a, "attention.sliding_window_pattern")))
		return err_set(a->err, -EINVAL,
			       "%s: %s is there, supported is one window for "
			       "all layers",
			       a->g->where, a->key);
	ret = get_u32(a, "attention.sliding_window", 0, UINT32_MAX, &window);
	for (uint32_t i = 0; i < m->nr_layers && !ret; i++)
		m->window[i] = window;
	return ret;
}

static void add_end(struct arch *m, uint32_t id)
{
	for (uint32_t k = 0; k < m->nr_eos; k++)
		if (m->eos[k] == id)
			return;
	if (m->nr_eos < ARCH_MAX_EOS)
		m->eos[m->nr_eos++] = id;
}

/*
 * Many files name one end and leave the end of a turn to be found: a token of
 * a known name that the chat template writes (llama.cpp goes by the name).
 */
static void find_turn_ends(struct ask *a, struct arch *m)
{
	static const char *const names[] = { "<|eot_id|>", "<|eom_id|>",
					     "<|im_end|>", "<|end|>",
					     "<end_of_turn>" };
	const struct gguf_value *tokens = NULL, *template;
	const uint8_t *at = NULL, *text = NULL;
	struct gguf_str chat, s;

	template = gguf_find(a->g, "tokenizer.chat_template");
	if (!template || template->is_array || template->kind != GGUF_STRING ||
	    gguf_get_array(a->g, "tokenizer.ggml.tokens", GGUF_STRINGS, &tokens,
			   NULL) ||
	    !tokens)
		return;
	chat = gguf_next_str(template, &text);
	for (uint64_t i = 0; i < tokens->count && i < m->vocab; i++) {
		s = gguf_next_str(tokens, &at);
		for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
			if (s.size == strlen(names[k]) &&
			    !memcmp(s.data, names[k], s.size) &&
			    memmem(chat.data, chat.size, s.data, s.size))
				add_end(m, (uint32_t)i);
	}
}

/* The ids that end a text: eos, end of turn, end of message. */
static int read_ends(struct ask *a, struct arch *m)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id",
					    "tokenizer.ggml.eot_token_id",
					    "tokenizer.ggml.eom_token_id" };
	int ret;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		uint32_t id = UINT32_MAX; /* also written for "none" */

		ret = gguf_get_u32(a->g, keys[i], 0, UINT32_MAX, &id, a->err);
		if (ret)
			return ret;
		if (id == UINT32_MAX)
			continue;
		if (id >= m->vocab)
			return err_set(a->err, -EINVAL,
				       "%s: %s is %u, allowed 0 to %u",
				       a->g->where, keys[i], id, m->vocab - 1);
		add_end(m, id);
	}
	find_turn_ends(a, m);
	return 0;
}

static int read_generation(struct ask *a, struct arch_generation *gen)
{
	double temperature = 0, top_p = 1, min_p = 0, repetition = 1;
	const struct gguf *g = a->g;
	int ret;

	if ((ret = gguf_get_f64(g, "general.sampling.temp", 0, 100,
				&temperature, a->err)) ||
	    (ret = gguf_get_f64(g, "general.sampling.top_p", 1e-6, 1, &top_p,
				a->err)) ||
	    (ret = gguf_get_f64(g, "general.sampling.min_p", 0, 1, &min_p,
				a->err)) ||
	    (ret = gguf_get_f64(g, "general.sampling.penalty_repeat", 1e-3, 1e3,
				&repetition, a->err)) ||
	    (ret = gguf_get_u32(g, "general.sampling.top_k", 0, UINT32_MAX,
				&gen->top_k, a->err)))
		return ret;
	gen->temperature = (float)temperature;
	gen->top_p = (float)top_p;
	gen->min_p = (float)min_p;
	gen->repetition_penalty = (float)repetition;
	return 0;
}

int arch_read_gguf(struct arch *arch, struct arch_generation *gen,
		   const struct tensors *tensors, struct err *err)
{
	struct ask a = { .g = &tensors->gguf[0], .t = tensors, .err = err };
	struct arch_generation made = { 0 };
	struct arch m = { 0 };
	int ret;

	if ((ret = find_family(&a)))
		return ret;
	m.family = a.family->hf;
	if ((ret = refuse_others(&a)) || (ret = read_sizes(&a, &m)) ||
	    (ret = read_heads(&a, &m)) || (ret = read_rope(&a, &m)) ||
	    (ret = read_window(&a, &m)) || (ret = read_ends(&a, &m)) ||
	    (ret = read_generation(&a, &made)))
		return ret;
	read_switches(&a, &m);
	*arch = m;
	*gen = made;
	return 0;
}
